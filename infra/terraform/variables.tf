variable "project" {
  description = "Id of the Google Cloud project."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project's id has 6 to 30 small letters, digits and hyphens; its number is not taken."
  }
}

variable "region" {
  description = "Where the bucket, the images and the workers are. Between regions, every byte is paid for."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region is like us-central1; a zone (us-central1-a) is not one."
  }
}

variable "bucket" {
  description = "Name of the bucket of datasets, new in all of Google Cloud."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "3 to 63 small letters, digits, hyphens and underscores."
  }
}

variable "image_version" {
  description = "Tag of the images worker and launcher, as built with infra/dataflow/cloudbuild.yaml. Tags cannot be moved."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", var.image_version)) && var.image_version != "latest"
    error_message = "Name a version, such as 0.1.0: `latest` is another image tomorrow."
  }
}

variable "schedule" {
  description = "When the pool is fed, in cron's words, as \"0 3 * * 1\"; null: never by itself."
  type        = string
  default     = null

  validation {
    condition     = var.schedule == null || can(regex("^\\S+ \\S+ \\S+ \\S+ \\S+$", var.schedule))
    error_message = "Five fields with one space between: minute hour day month weekday."
  }
}

variable "time_zone" {
  description = "Of the schedule."
  type        = string
  default     = "Etc/UTC"
}

variable "parameters" {
  description = "Parameters of the scheduled launch beside dataset and stop_after; see infra/dataflow/metadata.json."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.parameters), ["dataset", "stop_after", "start_at"])) == 0
    error_message = "dataset comes from `dataset`; a scheduled launch feeds the pool, so stop_after and start_at are fixed."
  }
  validation {
    condition     = var.schedule == null || can(var.parameters["source"])
    error_message = "A schedule needs a source: parameters = { source = \"gs://…\", contact = \"you@example.org\" }."
  }
}

variable "dataset" {
  description = "Folder of the dataset in the bucket."
  type        = string
  default     = "pigment-data"

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9/_.-]*[A-Za-z0-9]$", var.dataset))
    error_message = "A path without slashes at its ends."
  }
}

variable "machine_type" {
  description = "Of the workers."
  type        = string
  default     = "n2-standard-4"
}

variable "max_workers" {
  description = "Machines at most: what bounds an hour's bill."
  type        = number
  default     = 10

  validation {
    condition     = var.max_workers >= 1 && var.max_workers <= 1000 && floor(var.max_workers) == var.max_workers
    error_message = "A whole number from 1 to 1000."
  }
}

variable "private_network" {
  description = "Makes a network whose workers have no address of their own. They reach Google by private access and the web by a NAT, which costs by the hour and by the byte fetched."
  type        = bool
  default     = true
}
