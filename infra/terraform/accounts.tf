# Two accounts, each with what its part cannot do without. Nobody gets Editor, and none has a key.

# Workers, and the machine that launches: a launch names one account for both (FlexTemplateRuntimeEnvironment.serviceAccountEmail). It fetches
# from the open web, and the image that it decodes may attack it, so it must reach nothing but the data.
resource "google_service_account" "worker" {
  account_id   = "pigment-worker"
  display_name = "Pigment: launcher and workers"
  depends_on   = [google_project_service.needed]
}

# Takes work from Dataflow and reports on it; without it no worker can. It is a role of the project and reads objects of the project's other
# buckets too: give pigment a project of its own.
resource "google_project_iam_member" "worker_dataflow" {
  project = var.project
  role    = "roles/dataflow.worker"
  member  = google_service_account.worker.member
}

# The scheduler: may ask for a launch, and for nothing else.
resource "google_service_account" "scheduler" {
  account_id   = "pigment-scheduler"
  display_name = "Pigment: asks for scheduled launches"
  depends_on   = [google_project_service.needed]
}

# roles/dataflow.developer would also cancel, drain, snapshot and read every job's messages; roles/dataflow.admin, which Google's tutorial
# grants, makes buckets and machines on top.
resource "google_project_iam_custom_role" "launch" {
  role_id     = "pigmentLaunch"
  title       = "Pigment: launch a job"
  description = "Create a Dataflow job and look at it: no cancelling, no draining, no messages of other jobs."
  permissions = ["dataflow.jobs.create", "dataflow.jobs.get"]

  depends_on = [google_project_service.needed]
}

# The scheduler asks for the launch; the launcher, which is the worker's account, then makes the job of the graph that it has built.
resource "google_project_iam_member" "launches" {
  for_each = { scheduler = google_service_account.scheduler.member, launcher = google_service_account.worker.member }
  project  = var.project
  role     = google_project_iam_custom_role.launch.id
  member   = each.value
}

# Who starts machines with an account must be allowed to act as it. On this account alone, not on the project, which would be every account.
resource "google_service_account_iam_member" "acts_as_worker" {
  for_each           = { scheduler = google_service_account.scheduler.member, launcher = google_service_account.worker.member }
  service_account_id = google_service_account.worker.name
  role               = "roles/iam.serviceAccountUser"
  member             = each.value
}

# Objects of the datasets: read, list, create, and delete, since replaced settings, `sweep` and `forget` delete; not the bucket's own policy,
# which roles/storage.admin would add.
resource "google_storage_bucket_iam_member" "worker" {
  for_each = { data = google_storage_bucket.data.name, temporary = google_storage_bucket.temporary.name }
  bucket   = each.value
  role     = "roles/storage.objectUser"
  member   = google_service_account.worker.member
}

# The template's file lies beside the temporary ones and is read by whoever asks for a launch: that one object, nothing else.
resource "google_storage_bucket_iam_member" "template" {
  bucket = google_storage_bucket.temporary.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.scheduler.member

  condition {
    title      = "templates only"
    expression = "resource.name.startsWith(\"projects/_/buckets/${google_storage_bucket.temporary.name}/objects/templates/\")"
  }
}

# Images are pulled, never pushed: whoever builds them pushes.
resource "google_artifact_registry_repository_iam_member" "pulls" {
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.worker.member
}
