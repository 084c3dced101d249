# For `packer init packer/plugins`. In a folder of its own: the template itself is also taken by Packers that have the plugin built in.
packer {
  required_plugins {
    amazon = {
      version = ">= 1.3.0"
      source  = "github.com/hashicorp/amazon"
    }
  }
}
