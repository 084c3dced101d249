#!/usr/bin/env bash
# Holds a running machine of this image against the hardening that SECURITY.md lists: one line a check, "holds" or "FAILS".
# Runs inside, as root of a job with sudo; ./build.sh --target=Audit brings it there. Exits with 1 if any check fails.
#   audit.sh SETTINGS     SETTINGS: the repository's 60-mayfly.conf, since the image's own would vouch for itself
set -uo pipefail
settings=${1:?which file has the settings to compare with?}

failed=0
# holds WHAT COMMAND...: true if the command is; what it prints is shown if not.
holds() {
  local what=$1 said
  shift
  if said=$("$@" 2>&1); then
    echo "holds  $what"
  else
    echo "FAILS  $what${said:+: $(head -n 5 <<< "$said" | tr '\n' ' ')}"
    failed=1
  fi
}
# nothing COMMAND...: true if it prints nothing.
nothing() { local said; said=$("$@") && [[ -z $said ]] || { echo "$said"; return 1; }; }
is() { [[ $1 == "$2" ]] || { echo "is '$1', not '$2'"; return 1; }; }
# sysctls FILE: true if the kernel has each value of the file, and the file any.
sysctls() {
  local name wanted said lines=0 wrong=0
  while read -r name wanted; do
    lines=$((lines + 1))
    [[ $name != net.core.bpf_jit_harden ]] || continue # told to nobody without CAP_SYS_ADMIN
    said=$(is "$(cat "/proc/sys/${name//.//}" 2>&1 | tr '\t' ' ')" "$wanted") || { echo "$name $said"; wrong=1; }
  done < <(sed -n 's/^\([a-z][^ ]*\) = /\1 /p' "$1")
  ((lines > 0)) || { echo "'$1' names no setting"; return 1; }
  return $wrong
}

# Sockets that wait for others: TCP in state LISTEN (0A), UDP that is bound (07); but for the loopback, and the DHCP client's.
listening() {
  awk 'FNR > 1 && ($4 == "0A" || $4 == "07") && $2 !~ /^[0-9A-F]*7F:/ && $2 !~ /^0{24}01000000:/ && $2 !~ /:0044$/ { print FILENAME, $2 }' /proc/net/{tcp,tcp6,udp,udp6}
}
# mounted PLACE OPTION...: true if the mount there has all these options.
mounted() {
  local place=$1 option options
  shift
  options=$(awk -v place="$place" '$5 == place { print "," $6 "," $NF "," }' /proc/self/mountinfo | tail -n 1)
  [[ -n $options ]] || { echo "$place is no mount"; return 1; }
  for option; do
    [[ $options == *",$option,"* ]] || { echo "$place is mounted with $options"; return 1; }
  done
}
# What stands more than once in a column of a file of users or groups.
twice() { for column in 1 3; do for file in /etc/passwd /etc/group; do cut -d : -f $column $file | sort | uniq -d | sed "s#^#$file #"; done; done; }
keys() { find /etc -xdev -name 'ssh_host_*'; grep -rlsE -e '-----BEGIN ([A-Z]+ )*PRIVATE KEY' /etc /root /home /var; true; }
enabled() { for unit; do [[ $(systemctl --root=/ is-enabled "$unit" 2> /dev/null) == "masked" ]] || echo "$unit"; done; }

# Ways in
holds "no socket listens to other machines" nothing listening
holds "no SSH server is installed" test ! -e /usr/sbin/sshd
holds "no login on any terminal" nothing enabled getty@tty1.service serial-getty@ttyS0.service console-getty.service systemd-logind.service
holds "no message bus" nothing enabled dbus.service dbus.socket
# Users
holds "every password is locked" nothing awk -F : '$2 !~ /^[!*]/ { print $1 }' /etc/shadow
holds "only root has user id 0" is "$(awk -F : '$3 == 0 { print $1 }' /etc/passwd)" root
holds "only root and runner have a shell" is "$(awk -F : '$7 !~ /(nologin|false|sync)$/ { print $1 }' /etc/passwd | tr '\n' ' ')" "root runner "
holds "no user, group or id stands twice" nothing twice
holds "no authorised keys" nothing find / -xdev -name authorized_keys
# Files
holds "only sudo has a set-user-ID or set-group-ID bit" is "$(find / -xdev -type f -perm /6000)" /usr/bin/sudo
holds "no file can be written by everybody" nothing find / -xdev -type f -perm -0002 ! -path '/proc/*' ! -path '/sys/*'
holds "no folder can be written by everybody without the sticky bit" nothing find / -xdev -type d -perm -0002 ! -perm -1000
holds "no file without an owner" nothing find / -xdev '(' -nouser -o -nogroup ')'
holds "only root writes the files of users and groups, and only root and shadow read passwords" is "$(stat -c '%a:%U:%G' /etc/{passwd,group,shadow,gshadow} | paste -s -d ' ')" "644:root:root 644:root:root 640:root:shadow 640:root:shadow"
holds "no private keys" nothing keys
holds "no logs of another machine" nothing find /var/log -xdev -type f
holds "none of cron, at, prelink and apport is installed" nothing find /usr -xdev -type f '(' -path '*bin/cron' -o -path '*bin/atd' -o -path '*bin/prelink' -o -name apport ')'
# The sandbox's mounts. Those of the system are out of a job's sight.
holds "the job's /dev/shm takes no devices and no set-user-ID programs" mounted /dev/shm nosuid nodev
holds "no file of the job's root is a device" mounted / nodev
# Kernel
holds "only signed kernel modules are loaded" is "$(cat /sys/module/module/parameters/sig_enforce)" Y
holds "the kernel has no debug file system to mount" grep -qw debugfs=off /proc/cmdline
holds "the kernel's settings are those of packer/rootfs/etc/sysctl.d/60-mayfly.conf" sysctls "$settings"
exit $failed
