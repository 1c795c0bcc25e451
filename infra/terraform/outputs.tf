output "repository" {
  description = "Where images go: _REPOSITORY of infra/dataflow/cloudbuild.yaml."
  value       = local.repository
}

output "dataset" {
  description = "--dataset of every command."
  value       = local.dataset
}

output "template" {
  description = "Where `gcloud dataflow flex-template build` puts the template."
  value       = local.template
}

output "launch" {
  description = "The body of the launch that the scheduler sends."
  value       = jsonencode(local.launch)
}

output "flags" {
  description = "Dataflow's flags of the main job, for a run from a machine of yours."
  value = join(" ", concat(
    [
      "--runner DataflowRunner",
      "--project ${var.project}",
      "--region ${var.region}",
      "--temp_location ${local.temporary}/tmp",
      "--staging_location ${local.temporary}/staging",
      "--service_account_email ${google_service_account.worker.email}",
      "--sdk_container_image ${local.repository}/worker:${var.image_version}",
      "--max_num_workers ${var.max_workers}",
      "--machine_type ${var.machine_type}",
    ],
    var.private_network ? ["--no_use_public_ips", "--subnetwork regions/${var.region}/subnetworks/${google_compute_subnetwork.workers[0].name}"] : [],
  ))
}
