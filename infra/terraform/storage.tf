# The datasets. Releases never change and the pool only grows, both by create-only puts of ours (if_generation_match=0), so versions would keep
# nothing but run.json, reports and the pool's settings: they are off. What is kept longer than wanted is worse here than what is lost:
# `pipelines.forget` must be able to remove a picture, and neither versions nor soft deletion may hold it for weeks.
resource "google_storage_bucket" "data" {
  name                        = var.bucket
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false # terraform does not delete datasets

  versioning {
    enabled = false
  }

  soft_delete_policy {
    retention_duration_seconds = 0
  }

  lifecycle_rule { # parts of uploads whose worker died
    condition {
      age = 7
    }
    action {
      type = "AbortIncompleteMultipartUpload"
    }
  }

  depends_on = [google_project_service.needed]
}

# Dataflow's own files: graphs, staged files, what a step spills. Another bucket, so that nothing here can age a dataset away.
resource "google_storage_bucket" "temporary" {
  name                        = "${var.bucket}-tmp"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true

  soft_delete_policy {
    retention_duration_seconds = 0
  }

  lifecycle_rule {
    condition {
      age            = 14 # days; longer than a job may run
      matches_prefix = ["tmp/", "staging/"]
    }
    action {
      type = "Delete"
    }
  }

  depends_on = [google_project_service.needed]
}

resource "google_artifact_registry_repository" "images" {
  repository_id = "pigment"
  location      = var.region
  format        = "DOCKER"
  description   = "Images of pigment: worker and launcher"

  docker_config {
    immutable_tags = true # a job that names a version means one image
  }

  depends_on = [google_project_service.needed]
}
