#!/usr/bin/perl
# A whole cluster on Debian's own kernel, in a virtual machine: io_uring as that kernel has it, and
# "volctl volume attach" by the kernel's nbd: ext4, files, growing while mounted, two connections, a
# volmgr that is killed under a mounted file system, a restart of everything.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;
use Weft::VM;

need(qw(nbdsrv volmgr volctl));
my $missing = Weft::VM::missing();
skip_all($missing) if $missing;
my $kernel = eval { Weft::VM::kernel_dir() };
skip_all("no kernel can be had: $@" =~ s/\n.*//sr) if !$kernel;

my $SCRIPT = <<'END';
step() {
	name=$1
	shift
	if "$@" >/tmp/step 2>&1; then
		echo "result 0 $name"
	else
		echo "result 1 $name"
		sed 's/^/# /' /tmp/step
		tail -n 5 /tmp/c/*.log | sed 's/^/# /'
		return 1
	fi
}
c=/tmp/c
export WEFT_SOCKET=$c/volmgr.sock
mkdir -p $c/v /etc/weft
start_volmgr() {
	volmgr --bpf auto --dir $c/v --secret $c/secret --listen unix:$c/nbd.sock --listen tcp:127.0.0.1:10809 \
		--socket $c/volmgr.sock --http tcp:127.0.0.1:10880 >>$c/volmgr.log 2>&1 &
	pidv=$!
	wait_for volmgr volctl status
}
start() {
	for i in 1 2 3; do
		nbdsrv --store $c/s$i --secret $c/secret --listen unix:$c/s$i.sock >>$c/s$i.log 2>&1 &
		eval pid$i=$!
	done
	for i in 1 2 3; do
		wait_for "server $i" test -S $c/s$i.sock || return 1
	done
	start_volmgr
}
stop() {
	kill $pidv && wait $pidv && kill $pid1 $pid2 $pid3 && wait $pid1 && wait $pid2 && wait $pid3
}
format() {
	volctl cluster init --secret $c/secret &&
	for i in 1 2 3; do
		nbdsrv --store $c/s$i --format --size 256M --secret $c/secret || return 1
	done
}
add() {
	for i in 1 2 3; do
		volctl server add unix:$c/s$i.sock --name server-$i || return 1
	done
	volctl volume create v --size 192M --ec 2+1
}
attach() {
	volctl volume attach v "$@" >/tmp/attached || return 1
	device=$(grep -o '/dev/nbd[0-9]*' /tmp/attached)
	[ -b "$device" ]
}
sums() { (cd /mnt && find . -type f | sort | xargs sha256sum); }
fill() { cp -r /bin /mnt/ && dd if=/dev/urandom of=/mnt/random bs=1M count=16; }
same() { sums >/tmp/after && cmp /tmp/before /tmp/after; }
grow() {
	volctl volume resize v 320M && [ "$(blockdev --getsize64 $device)" = 335544320 ] &&
	resize2fs $device && dd if=/dev/urandom of=/mnt/more bs=1M count=16
}

# Somebody writes and syncs all the time; each number that was synced is noted outside of the volume.
write_on() {
	n=0
	while [ ! -e /tmp/enough ]; do
		n=$((n + 1))
		dd if=/dev/urandom of=/mnt/part bs=16k count=4 conv=fsync && echo $n >/mnt/number &&
			sync /mnt/number && echo $n >/tmp/noted || { echo "write $n failed"; return 1; }
		usleep 50000
	done
}
writer_starts() {
	rm -f /tmp/enough /tmp/noted
	write_on >/tmp/writer 2>&1 &
	writer=$!
	wait_for "the writer" test -e /tmp/noted
}
noted_after() { [ "$(cat /tmp/noted)" -gt "$1" ]; }
writes_go_on() {
	before=$(cat /tmp/noted)
	wait_for "writes after number $before" noted_after $((before + 2))
}
volmgr_killed() {
	kill -9 $pidv
	wait $pidv
	start_volmgr && writes_go_on
}
# longer than the block layer waits before it asks about a request (30 s, if nobody sets it)
volmgr_away() {
	echo 2000 >/sys/block/${device#/dev/}/queue/io_timeout || return 1
	kill -9 $pidv
	wait $pidv
	sleep 5
	start_volmgr && writes_go_on
}
writer_ends() {
	touch /tmp/enough
	wait $writer || { cat /tmp/writer; return 1; }
	[ "$(cat /mnt/number)" = "$(cat /tmp/noted)" ] && ! dmesg | grep -i "i/o error"
}
guard_drops() {
	nbdsrv --store $c/s1 --secret $c/secret --listen tcp:127.0.0.1:7001 --guard lo --member 127.0.0.5 >$c/guard.log 2>&1 &
	pidg=$!
	wait_for "a guarded server" grep -q listening $c/guard.log || return 1
	grep "a guard on lo drops" $c/guard.log || return 1
	nc -w 1 127.0.0.1 7001 </dev/null 2>&1 | grep "timed out" || return 1
	kill $pidg && wait $pidg
}
ebpf_on() { volctl status | grep -q 'ebpf *on'; }
routed() {
	n=$(volctl --json volume show v | tr -d ' \n' | grep -o '"routed":{[^}]*}' | grep -o '"reads":[0-9]*')
	n=${n#*:}
	echo "$n reads were routed"
}
sized() { [ "$(cat /sys/block/nbd5/size)" -gt 0 ]; }
by_tcp() {
	device=/dev/nbd5
	nbd-client 127.0.0.1 10809 -N v $device || return 1
	wait_for 'the size of the device' sized
}
read_by_volmgr() {
	dd if=$device of=/dev/null bs=4k iflag=direct count=400 || return 1
	routed
	[ "$n" -eq 0 ]
}
# more than a connection takes at once
writes_that_wait() {
	for file in 1 2 3; do
		dd if=/dev/zero of=/mnt/by-tcp bs=64k count=400 conv=fsync || return 1
	done
	dd if=/dev/urandom of=/mnt/by-tcp bs=64k count=100 && ! dmesg | grep -i "i/o error"
}
# several times: servers open for routed reads soon after they are up
read_all() {
	for round in 1 2 3 4 5; do
		dd if=$device of=/dev/null bs=4k iflag=direct count=4000 || return 1
		routed
		[ "$n" -le 1000 ] || return 0
	done
	return 1
}
mkdir -p /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup

step 'three stores are made' format || exit 1
step 'servers and volmgr start' start || exit 1
step 'a volume is made' add || exit 1
step 'volctl attaches it by the kernel nbd' attach || exit 1
step 'ext4 is made' mkfs.ext4 -q $device
step 'and mounted' mount -t ext4 $device /mnt || exit 1
step 'files are written' fill
step 'it grows while it is mounted' grow
step 'somebody writes and syncs' writer_starts
step 'volmgr is killed and started, and writes go on' volmgr_killed
step 'the same again' volmgr_killed
step 'the same when the kernel asks about requests meanwhile' volmgr_away
step 'no write failed, and the kernel saw no error' writer_ends
rm -f /mnt/part /mnt/number
sums >/tmp/before
step 'unmounted' umount /mnt
step 'detached' volctl volume detach v
step 'all daemons stop' stop
step 'all daemons start' start || exit 1
step 'eBPF works on this kernel' ebpf_on
step 'the kernel nbd is attached by TCP' by_tcp || exit 1
step 'its reads are not routed, as its writes may have to wait' read_by_volmgr
step 'ext4 is mounted there' mount -t ext4 $device /mnt
step 'many files are written at once' writes_that_wait
rm -f /mnt/by-tcp
step 'it is unmounted' umount /mnt
step 'and detached' nbd-client -d $device
step 'all daemons stop' stop
echo 134217728 >/proc/sys/net/core/wmem_max
step 'all daemons start' start || exit 1
step 'the kernel nbd is attached with room for all that it sends' by_tcp || exit 1
step 'its reads are routed' read_all
step 'ext4 is mounted there' mount -t ext4 $device /mnt
step 'and the files are the same' same
step 'many files are written at once' writes_that_wait
sums >/tmp/before
step 'it is unmounted' umount /mnt
step 'and detached' nbd-client -d $device
step 'attached again, with two connections' attach --connections 2 || exit 1
step 'the file system is whole' fsck.ext4 -fn $device
step 'and mounted again' mount -t ext4 $device /mnt || exit 1
step 'the files are the same' same
step 'fstrim' fstrim /mnt
step 'unmounted again' umount /mnt
step 'detached again' volctl volume detach v
step 'and the volume is deleted' volctl volume delete v --yes
step 'all daemons stop again' stop
step 'the guard decides as it should on this kernel' env WEFT_NEED_BPF=1 guard.t
step 'and a stranger gets no answer' guard_drops
exit 0
END

# What liberasurecode loads by itself at run time.
my @loaded = grep { -e } map { glob("/usr/lib/*-linux-gnu/$_") } qw(libisal.so.2 liberasurecode_*.so.1
    libXorcode.so.1 libnullcode.so.1);
my $status = eval {
	Weft::VM::vm_run(
		script => $SCRIPT, timeout => 840, cpus => 2, memory => '1536M', files => \@loaded,
		programs => [ (map { program($_) } qw(nbdsrv volmgr volctl)), build_dir() . '/t/unit/guard.t' ],
		on_line => sub {
			my ($line) = @_;
			return ok($1 == 0, $2) if $line =~ /\Aresult ([01]) (.*)\z/;
			return diag($line);
		},
	);
};
is($status, 0, 'the virtual machine ran its script to the end') or diag($@);
done_testing();
