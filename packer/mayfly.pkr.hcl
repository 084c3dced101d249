# The image by Packer, in two ways that give the same bits:
#   packer build -only=null.local packer              build it on this machine, into var.image
#   packer build -only=amazon-ebssurrogate.ami ...    write what was built to a volume in AWS and register it as an AMI
# ./build.sh --target=Ami does the second. A current Packer needs `packer init packer/plugins` once.
# Lines between "newer" and "end" are what a Packer of 2020, which Debian 12 has, does not know; the tests leave them out.

variable "image" {
  type        = string
  description = "Folder of the image: disk.raw and manifest.json."
}

variable "agent" {
  type        = string
  default     = ""
  description = "For null.local: the agent's program."
}

variable "runner" {
  type        = string
  default     = ""
  description = "For null.local: the runner's folder or tarball."
}

variable "build_arguments" {
  type        = list(string)
  default     = ["--runner-kind=official"]
  description = "For null.local: what else packer/build.sh is given."
}

variable "cache" {
  type        = string
  default     = "artifacts/cache"
  description = "For null.local: where Debian's tree is kept between builds."
}

variable "manifest" {
  type        = object({ rootHash = string, kernel = string, disk = string, agent = string, runner = string, runnerReleased = string, signed = bool })
  default     = { rootHash = "", kernel = "", disk = "", agent = "", runner = "", runnerReleased = "", signed = false }
  description = "Of the image that is written: what becomes the AMI's tags. ./build.sh --target=Ami takes it from manifest.json."
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "name" {
  type        = string
  default     = "mayfly"
  description = "The AMI's name begins so; the first digits of root hash and disk follow: of one root there are disks with another kernel's command line, or a signature."
}

variable "encrypt" {
  type        = bool
  default     = false
  description = "Encrypt the snapshot. The image holds no secret; some accounts ask for it all the same."
}

variable "kms_key" {
  type        = string
  default     = ""
  description = "With encrypt: the key's id; empty for the account's own for EBS."
}

variable "throughput" {
  type        = number
  default     = 125
  description = "Of the root volume in MiB/s, 125 to 1000."
}

variable "uefi_data" {
  type        = string
  default     = null
  description = "Secure Boot's keys as EC2 takes them (base64); null for firmware that boots anything."
}

variable "instance_type" {
  type    = string
  default = "t3.small"
}

source "null" "local" {
  communicator = "none"
}

source "amazon-ebssurrogate" "ami" {
  region                      = var.region
  instance_type               = var.instance_type
  ssh_username                = "admin"
  associate_public_ip_address = true
  # Debian's own, only to write the volume from; nothing of it goes into the AMI.
  source_ami_filter {
    owners      = ["136693071363"] # https://wiki.debian.org/Cloud/AmazonEC2Image/Bookworm
    most_recent = true
    filters     = { name = "debian-12-amd64-*", virtualization-type = "hvm", root-device-type = "ebs" }
  }
  launch_block_device_mappings {
    device_name           = "/dev/xvdf"
    volume_type           = "gp3"
    volume_size           = 1
    delete_on_termination = true
    iops                  = 3000 # what gp3 costs nothing more for
    throughput            = var.throughput
  }
  ami_name                = "${var.name}-${substr(var.manifest.rootHash, 0, 12)}-${substr(var.manifest.disk, 0, 12)}"
  ami_description         = "Mayfly: one GitHub Actions job, one machine. Root hash ${var.manifest.rootHash}"
  ami_virtualization_type = "hvm"
  ami_architecture        = "x86_64"
  ena_support             = true
  encrypt_boot            = var.encrypt
  kms_key_id              = var.kms_key
  ami_root_device {
    source_device_name    = "/dev/xvdf"
    device_name           = "/dev/xvda"
    volume_type           = "gp3"
    volume_size           = 1
    iops                  = 3000
    delete_on_termination = true
    # newer
    throughput = var.throughput
    # end
  }
  # The first three are the controller's to read (agent/Contract/Tags.cs). What the build could not learn is left out.
  tags = { for key, value in {
    "mayfly:root-hash"       = var.manifest.rootHash
    "mayfly:runner-version"  = var.manifest.runner
    "mayfly:runner-released" = var.manifest.runnerReleased
    "mayfly:disk-sha256"     = var.manifest.disk
    "mayfly:kernel"          = var.manifest.kernel
    "mayfly:agent"           = var.manifest.agent
    "mayfly:signed"          = "${var.manifest.signed}"
    Name                     = "${var.name}-${substr(var.manifest.rootHash, 0, 12)}-${substr(var.manifest.disk, 0, 12)}"
  } : key => value if value != "" }
  # newer
  boot_mode    = "uefi"
  imds_support = "v2.0"
  tpm_support  = "v2.0"
  uefi_data    = var.uefi_data
  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }
  # end
}

build {
  sources = ["source.null.local", "source.amazon-ebssurrogate.ami"]

  provisioner "shell-local" {
    only    = ["null.local"]
    command = join(" ", concat(["${path.root}/build.sh --agent='${var.agent}' --runner='${var.runner}' --out='${var.image}' --cache='${var.cache}'"], var.build_arguments))
  }

  provisioner "file" {
    only        = ["amazon-ebssurrogate.ami"]
    source      = "${var.image}/disk.raw"
    destination = "/tmp/disk.raw"
  }

  # What lies on the volume in the end is read back and compared: the AMI is the image that was built, to the bit.
  provisioner "shell" {
    only             = ["amazon-ebssurrogate.ami"]
    script           = "${path.root}/scripts/write-volume.sh"
    environment_vars = ["SHA256=${var.manifest.disk}"]
  }
}
