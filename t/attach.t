#!/usr/bin/perl
# A volume as a block device of this machine: attached, formatted, mounted, used, grown while mounted,
# detached, attached again.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;
use Weft::Cluster;

need(qw(nbdsrv volmgr volctl mkfs.ext4 resize2fs));
skip_all('only root can attach devices') if $> != 0;
skip_all('neither the nbd module nor nbdfuse and loop devices are here')
    if !-e '/sys/module/nbd' && run('modprobe', 'nbd')->{status}
	&& !(tool('nbdfuse') && -w '/dev/fuse' && -e '/dev/loop-control');

my $dir = temp_dir();
$ENV{WEFT_RUN_DIR} = "$dir/run";
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '4+2', size => '128M');
$cluster->up;
at_end(sub {
	run('umount', "$dir/mnt");
	$cluster->volctl_run('volume', 'detach', 'vol');
	$cluster->kill;
});

sub attach
{
	my ($name) = @_;
	my $got = $cluster->volctl_run('volume', 'attach', 'vol');
	is($got->{status}, 0, $name) or diag($got->{err});
	my ($device) = $got->{out} =~ m{(/dev/\w+)};
	return $device // BAIL_OUT("no device: $got->{out}$got->{err}");
}

sub sums { return run_ok('sh', '-c', "cd $dir/mnt && find . -type f | sort | xargs sha256sum") }
sub size_mib { return (run_ok('df', '-BM', '--output=size', "$dir/mnt") =~ /([0-9]+)M/)[0] }

my $device = attach('a volume is attached');
is(run_ok('blockdev', '--getsize64', $device) + 0, 128 << 20, "$device has the size of the volume");
run_ok('mkfs.ext4', '-q', $device);
mkdir("$dir/mnt");
run_ok('mount', $device, "$dir/mnt");
ok(1, 'ext4 is made and mounted');
run_ok('cp', '-r', src_dir() . '/lib', src_dir() . '/t', "$dir/mnt/");
run_ok('dd', 'if=/dev/urandom', "of=$dir/mnt/random", 'bs=1M', 'count=24', 'conv=fsync', 'status=none');
my $before = sums();
cmp_ok(() = $before =~ /\n/g, '>', 20, 'files are written');

my $refused = $cluster->volctl_run('volume', 'detach', 'vol');
isnt($refused->{status}, 0, 'it is not detached while it is mounted');
like($refused->{err}, qr{\Q$dir\E/mnt}, 'and says where it is');

my $was = size_mib();
$cluster->volctl('volume', 'resize', 'vol', '256M');
is(run_ok('blockdev', '--getsize64', $device) + 0, 256 << 20, 'grown while it is mounted');
SKIP: {
	my $got = run('resize2fs', $device);
	# it takes CAP_SYS_RESOURCE, which root in a container may lack; t/vm-cluster.t grows one for sure
	skip('this machine lets nobody grow a mounted ext4', 1) if $got->{err} =~ /Permission denied/;
	cmp_ok(size_mib(), '>', $was + 100, 'and so has the file system') or diag($got->{err});
}
run_ok('dd', 'if=/dev/urandom', "of=$dir/mnt/more", 'bs=1M', 'count=40', 'conv=fsync', 'status=none');
$before = sums();

run_ok('umount', "$dir/mnt");
$cluster->volctl('volume', 'detach', 'vol');
(my $sys = $device) =~ s{.*/}{/sys/block/};
# others that look at new devices may hold it for a moment
ok(eval { wait_until('the end of the device', 60, sub { !-e "$sys/loop/backing_file" && !-e "$sys/pid" }) }, 'detached');

$cluster->stop;
$cluster->start;
$device = attach('and attached again after a restart of everything');
is(run('fsck.ext4', '-fn', $device)->{status}, 0, 'the file system is whole');
run_ok('mount', $device, "$dir/mnt");
is(sums(), $before, 'and all files are what was written');
run_ok('umount', "$dir/mnt");
$cluster->volctl('volume', 'detach', 'vol');
done_testing();
