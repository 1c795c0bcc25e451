locals {
  repository = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
  dataset    = "gs://${google_storage_bucket.data.name}/${var.dataset}"
  temporary  = "gs://${google_storage_bucket.temporary.name}"
  template   = "${local.temporary}/templates/pigment-${var.image_version}.json"

  # What dataflow.projects.locations.flexTemplates.launch takes; also an output, for a launch by hand.
  launch = {
    launchParameter = {
      jobName              = "pigment-pool"
      containerSpecGcsPath = local.template
      parameters           = merge(var.parameters, { dataset = local.dataset, stop_after = "score" })
      environment = merge(
        {
          sdkContainerImage   = "${local.repository}/worker:${var.image_version}"
          serviceAccountEmail = google_service_account.worker.email
          tempLocation        = "${local.temporary}/tmp"
          stagingLocation     = "${local.temporary}/staging"
          machineType         = var.machine_type
          maxWorkers          = var.max_workers
        },
        var.private_network ? {
          subnetwork      = "regions/${var.region}/subnetworks/${google_compute_subnetwork.workers[0].name}"
          ipConfiguration = "WORKER_IP_PRIVATE"
        } : {},
      )
    }
  }
}

# A launch that finds the last one still running is refused by Dataflow, since a job's name is taken while it runs: no two write one pool.
resource "google_cloud_scheduler_job" "pool" {
  count            = var.schedule == null ? 0 : 1
  name             = "pigment-pool"
  description      = "Feeds the pool of ${local.dataset}"
  region           = var.region
  schedule         = var.schedule
  time_zone        = var.time_zone
  attempt_deadline = "320s"

  retry_config {
    retry_count = 1
  }

  http_target {
    http_method = "POST"
    uri         = "https://dataflow.googleapis.com/v1b3/projects/${var.project}/locations/${var.region}/flexTemplates:launch"
    headers     = { "Content-Type" = "application/json" }
    body        = base64encode(jsonencode(local.launch))

    oauth_token {
      service_account_email = google_service_account.scheduler.email
      scope                 = "https://www.googleapis.com/auth/cloud-platform"
    }
  }
}
