#!/usr/bin/env bash
# Prints the apt sources that Debian is taken from: a mirror's, or those of this machine's own apt.
#   sources.sh SUITE MIRROR[,SECURITY_MIRROR]|''
set -euo pipefail
suite=$1 mirror=$2

# What others publish beside Debian has no place in what is built here.
machine_sources() {
  apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' \
    | awk -v s="$suite" '$3 == s || $3 == s "-updates" || $3 == s "-security"' | sort -u
}
if [[ -z $mirror ]]; then
  sources=$(machine_sources)
  if [[ -z $sources ]]; then
    apt-get update -qq
    sources=$(machine_sources)
  fi
  [[ -n $sources ]] || { echo "this machine's apt knows no Debian $suite; give a mirror with --mirror=ADDRESS" >&2; exit 1; }
else
  # The security archive lies beside the main one under a name of its own, on Debian's mirrors as on snapshot.debian.org.
  security=${mirror#*,} mirror=${mirror%%,*}
  [[ $security != "$mirror" ]] || security=$(sed -E 's#/debian(/|$)#/debian-security\1#' <<< "$mirror")
  [[ $security != "$mirror" ]] || { echo "where are the security updates of $mirror? give --mirror=ADDRESS,SECURITY-ADDRESS" >&2; exit 1; }
  [[ $mirror$security != *@* ]] || { echo "--mirror='…@…': the provenance names it, so it may hold no password" >&2; exit 1; }
  # Debian's Release files say until when they hold, those of the security archive for a week, so that nobody passes an old archive
  # off as today's. Whoever names a day in the address (20261101T000000Z, as snapshot.debian.org does) wants that day's.
  options=''
  [[ ! $mirror =~ /[0-9]{8}T[0-9]{6}Z(/|$) ]] || options='[check-valid-until=no] '
  sources="deb $options$mirror $suite main
deb $options$mirror $suite-updates main
deb $options$security $suite-security main"
fi
echo "$sources"
