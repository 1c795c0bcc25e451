terraform {
  required_version = ">= 1.9, < 2.0" # checked with 1.11.4

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 7.45" # checked with 7.45.0
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}
