# Workers without addresses of their own: nobody can call them. Fetching the open web then needs a NAT; scoring, select and shard do not.
resource "google_compute_network" "private" {
  count                   = var.private_network ? 1 : 0
  name                    = "pigment"
  auto_create_subnetworks = false
  depends_on              = [google_project_service.needed]
}

resource "google_compute_subnetwork" "workers" {
  count                    = var.private_network ? 1 : 0
  name                     = "pigment-workers"
  network                  = google_compute_network.private[0].id
  region                   = var.region
  ip_cidr_range            = "10.20.0.0/20"
  private_ip_google_access = true # the bucket, the registry and Dataflow are reached without the NAT
}

# Dataflow's machines speak to each other on these ports (shuffle and streaming), and to nobody else of the network.
resource "google_compute_firewall" "dataflow" {
  count       = var.private_network ? 1 : 0
  name        = "pigment-dataflow"
  network     = google_compute_network.private[0].id
  direction   = "INGRESS"
  source_tags = ["dataflow"]
  target_tags = ["dataflow"]

  allow {
    protocol = "tcp"
    ports    = ["12345-12346"]
  }
}

resource "google_compute_router" "web" {
  count   = var.private_network ? 1 : 0
  name    = "pigment"
  network = google_compute_network.private[0].id
  region  = var.region
}

resource "google_compute_router_nat" "web" {
  count                              = var.private_network ? 1 : 0
  name                               = "pigment"
  router                             = google_compute_router.web[0].name
  region                             = var.region
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"
  # 64 connections a process and several processes a machine: the default of 64 ports a machine would stall all but the first.
  min_ports_per_vm                    = 4096
  enable_endpoint_independent_mapping = false

  subnetwork {
    name                    = google_compute_subnetwork.workers[0].id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }
}
