#!/usr/bin/perl
# A real Debian kernel with stock nbd-client: attach a volume, make file systems, write, detach, attach
# again, compare; two connections; trims give space back. Runs in a virtual
# machine without hardware's help, so it takes a while.
# WEFT_CLIENTS_URI: against that server instead (512 MiB; overwritten; space is not looked at).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;
use Weft::Cluster;
use Weft::VM;

use constant SETTLED_S => 6; # volmgr asks every five

my $missing = Weft::VM::missing();
skip_all($missing) if $missing;
my $kernel = eval { Weft::VM::kernel_dir() };
skip_all("no kernel can be had: $@" =~ s/\n.*//sr) if !$kernel;

my $SCRIPT = <<'END';
port=$1 volume=$2 whole=$3
step() {
	name=$1
	shift
	if "$@" >/tmp/step 2>&1; then
		echo "result 0 $fs$name"
	else
		echo "result 1 $fs$name"
		sed 's/^/# /' /tmp/step
		return 1
	fi
}
sized() { [ "$(cat /sys/block/nbd0/size)" -gt 0 ]; }
unsized() { ! sized; }
attach() {
	nbd-client 10.0.2.2 "$port" -N "$volume" "$@" /dev/nbd0 || return 1
	wait_for 'the size of the device' sized
}
detach() {
	nbd-client -d /dev/nbd0 || return 1
	wait_for 'the end of the device' unsized
}
sums() { (cd /mnt && find . -type f | sort | xargs sha256sum); }
fill() {
	dd if=/dev/urandom of=/mnt/random bs=1M count=24 &&
	mkdir -p /mnt/programs && cp -r /bin/. /mnt/programs &&
	dd if=/dev/urandom of=/mnt/odd bs=777 count=1001
}
same_sums() { sums >/tmp/after && cmp /tmp/before /tmp/after; }
check_ext4() { fsck.ext4 -fn /dev/nbd0; }
check_xfs() { xfs_repair -n /dev/nbd0; }
make_ext4() { mkfs.ext4 -q -F /dev/nbd0; }
make_xfs() { mkfs.xfs -q -f /dev/nbd0; }

round() {
	type=$1
	fs="$type: "
	step 'nbd-client attaches the volume' attach || return
	step 'the file system is made' make_$type || return
	step 'and mounted' mount -t "$type" /dev/nbd0 /mnt || return
	step 'files are written' fill
	sums >/tmp/before
	step 'unmounted' umount /mnt
	step 'and detached' detach
	step 'attached again, with two connections' attach -C 2 || return
	step 'the file system is whole' check_$type
	step 'and mounted again' mount -t "$type" /dev/nbd0 /mnt || return
	step 'the files are the same' same_sums
	if [ "$whole" = 1 ]; then
		step 'files use space on the servers' host used-more 24
		rm -r /mnt/random /mnt/programs
		sync
		step 'fstrim' fstrim -v /mnt
		step 'gives space back' host freed 20
	fi
	step 'unmounted again' umount /mnt
	step 'blkdiscard' blkdiscard /dev/nbd0
	[ "$whole" != 1 ] || step 'gives all of it back' host used-less 1
	step 'what was discarded reads as zeros' cmp -n 67108864 /dev/nbd0 /dev/zero
	step 'and detached again' detach
}
round ext4
round xfs

fs='fio: '
step 'attach with two connections' attach -C 2
step 'random writes are verified on the kernel device' fio --name=v --filename=/dev/nbd0 \
	--rw=randwrite --bsrange=4k-64k --size=24m --ioengine=psync --direct=1 --verify=crc32c \
	--verify_fatal=1 --verify_state_save=0 --output=/tmp/fio
step 'detach' detach
exit 0
END

my ($cluster, $host, $port, $volume, $whole, $free);
if (defined $ENV{WEFT_CLIENTS_URI}) {
	($host, $port, $volume) = $ENV{WEFT_CLIENTS_URI} =~ m{\Anbd://([^:/]+):([0-9]+)/(.*)\z} or die 'uri';
	$whole = 0;
} else {
	need(qw(nbdsrv volmgr volctl));
	my $dir = temp_dir();
	$cluster = Weft::Cluster->new(dir => "$dir/c", ec => '4+2', size => '512M');
	at_end(sub { $cluster->kill });
	$cluster->up;
	($host, $port) = $cluster->host_port;
	$volume = 'vol';
	$whole = 1;
	$free = $cluster->free_bytes;
}

# What the guest asks of us: does the volume use more (less) than so many MiB of the volume's own data;
# was so much freed since it last asked for more?
my $before;
sub asked
{
	my ($question) = @_;
	my ($how, $mib) = $question =~ /\A(used-more|used-less|freed) ([0-9]+)\z/
	    or return { status => 2, out => '' };
	my $limit = $mib * (1 << 20) * 6 / 4;
	my ($used, $last, $since);
	# Figures come in turns, server by server: what counts is what they say when they do not change.
	my $settled = sub {
		$used = $free - $cluster->free_bytes;
		($last, $since) = ($used, time) if !defined $last || $used != $last;
		return time - $since >= SETTLED_S;
	};
	my $fine = eval {
		wait_until('the servers to say so', 120, sub {
			return if !$settled->();
			return $used >= $limit if $how eq 'used-more';
			return $used <= $limit if $how eq 'used-less';
			return $before - $used >= $limit;
		});
	};
	$before = $used if $how eq 'used-more';
	return { status => $fine ? 0 : 1, out => "$used bytes are used\n" };
}

my $status = eval {
	Weft::VM::vm_run(
		script => "set -- $port $volume $whole\n$SCRIPT", timeout => 600, cpus => 2,
		host_commands => \&asked,
		on_line => sub {
			my ($line) = @_;
			return ok($1 == 0, $2) if $line =~ /\Aresult ([01]) (.*)\z/;
			return diag($line);
		},
	);
};
is($status, 0, 'the virtual machine ran its script to the end') or diag($@);
done_testing();
