#!/usr/bin/env bash
# The sandbox's tests on Debian's own kernel, which people run and the machine that builds may not: in an emulator, on this
# machine's files, which it cannot write. tests/sandbox/other_kernel.sh BUILD [TEST...]
set -euo pipefail
build=$(realpath "${1:?usage: $0 BUILD [TEST...]}")
shift
tests=("$@")
[ ${#tests[@]} -gt 0 ] || mapfile -t tests < <(cd "$build/tests" && ls -d sandbox_*_test)
limit=${LIMIT:-1500}      # seconds, of all
each=${EACH:-600}         # of a test
for tool in qemu-system-x86_64 busybox cpio depmod dpkg-deb; do
  command -v $tool >/dev/null || { echo "run the sandbox's tests on another kernel: there is no $tool; apt install qemu-system-x86 busybox-static cpio kmod" >&2; exit 2; }
done
work=$(mktemp -d /var/tmp/lares-kernel-XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"

package=${KERNEL:-$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: //p' | head -n 1)}
[ -n "$package" ] && apt-get download -qq "$package" 2>download.txt || {
  echo "run the sandbox's tests on another kernel: get linux-image-amd64: $(tail -n 1 download.txt 2>/dev/null || echo apt-get update first)" >&2
  exit 2
}
dpkg-deb -x ./*.deb kernel
version=$(basename kernel/lib/modules/*)
depmod -b kernel "$version"

# What it begins with: a shell that mounts this machine's files, with places of its own where tests write.
mkdir -p first/{bin,modules,proc,sys,dev,root}
cp "$(command -v busybox)" first/bin/
for module in virtio_pci 9pnet_virtio 9p overlay; do
  modprobe -d kernel -S "$version" --show-depends $module | sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | awk '!seen[$0]++' | while read -r path; do
  cp "$path" first/modules/
  echo "insmod /modules/$(basename "$path")"
done >modules
cat >first/init <<END
#!/bin/busybox sh
set -e
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
$(cat modules)
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /root
for place in tmp run root home var/tmp var/lib; do mount -t tmpfs tmpfs /root/\$place; done
mkdir -p "/root$build" /root/tmp
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro build "/root$build"
mkdir -p /dev/shm /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t devpts devpts /dev/pts
mount -t cgroup2 cgroup /sys/fs/cgroup
for place in proc sys dev; do mount --move /\$place /root/\$place; done
cat >/root/run/tests.sh <<'TESTS'
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
ip link set lo up 2>/dev/null || busybox ifconfig lo 127.0.0.1 up
cd /tmp
echo
for test in ${tests[*]}; do
  rc=0
  timeout -s KILL $each "$build/tests/\$test" >/tmp/said.txt 2>&1 </dev/null || rc=\$?
  if grep -aq '^native sandbox: ' /tmp/said.txt; then
    echo "FAILED \$test: \$(grep -am 1 '^native sandbox: ' /tmp/said.txt)"
  elif [ \$rc = 0 ]; then
    echo "passed \$test"
  else
    echo "FAILED \$test: \$rc"
    grep -av '^\[ RUN\|^\[       OK' /tmp/said.txt | tail -n 60
  fi
  grep -a '^as uid' /tmp/said.txt || true
done
echo THE END
echo o >/proc/sysrq-trigger
sleep 10
TESTS
exec switch_root /root /bin/bash /run/tests.sh
END
chmod +x first/init
(cd first && find . | cpio -o -H newc --quiet | gzip -1) >first.gz

echo "$version:"
share=local,security_model=none,readonly=on,multidevs=remap
timeout "$limit" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 4096 -nographic -no-reboot \
  -kernel kernel/boot/vmlinuz-* -initrd first.gz -append "console=ttyS0 quiet loglevel=1 panic=-1" \
  -virtfs "$share,path=/,mount_tag=host" -virtfs "$share,path=$build,mount_tag=build" </dev/null 2>&1 |
  sed -u 's/\x1b\[[0-9;?]*[A-Za-z]\|\x1bc\|\r//g' | tee said.txt | grep -a --line-buffered -v '^$\|sysrq\|reboot:\|SeaBIOS\|iPXE\|Ctrl-B\|Booting' || true
grep -q '^THE END' said.txt || { echo "it did not come to its end within $limit s" >&2; exit 1; }
! grep -q '^FAILED' said.txt
