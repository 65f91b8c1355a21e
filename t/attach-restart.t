#!/usr/bin/perl
# A device outlives its volmgr: ext4 is mounted and somebody writes with fsync all the time, while volmgr is
# killed, stopped and started again, alone and with all servers. No error, no byte lost, nothing noticed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IO::Handle;
use Test::More;
use Weft;
use Weft::Cluster;

need(qw(nbdsrv volmgr volctl mkfs.ext4));
skip_all('only root can attach devices') if $> != 0;
skip_all('neither the nbd module nor nbdfuse and loop devices are here')
    if !-e '/sys/module/nbd' && run('modprobe', 'nbd')->{status}
	&& !(tool('nbdfuse') && -w '/dev/fuse' && -e '/dev/loop-control');

use constant { LINE => 4096, SOON => 60 };
my $dir = temp_dir();
$ENV{WEFT_RUN_DIR} = "$dir/run";
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '2+1', size => '96M');
$cluster->up;
my $writer;
at_end(sub {
	kill('KILL', $writer) if $writer;
	run({ timeout => 20 }, 'umount', '-l', "$dir/mnt");
	$cluster->volctl_run('volume', 'detach', 'vol', '--force');
	$cluster->kill;
});

my ($device) = $cluster->volctl('volume', 'attach', 'vol') =~ m{(/dev/\w+)} or BAIL_OUT('no device');
run_ok('mkfs.ext4', '-q', $device);
mkdir("$dir/mnt");
run_ok('mount', $device, "$dir/mnt");

# Lines of one length that say where they are. What was synced is noted outside of the volume.
sub write_on
{
	my ($path, $note) = @_;
	open(my $fh, '>:raw', $path) or die "$path: $!\n";
	open(my $to, '>', $note) or die "$note: $!\n";
	$to->autoflush;
	for (my $n = 0;; $n++) {
		seek($fh, $n % 4096 * LINE, 0) or die "seek: $!\n";
		print $fh sprintf('%-' . (LINE - 1) . "d\n", $n) or die "write: $!\n";
		$fh->flush or die "write: $!\n";
		$fh->sync or die "fsync: $!\n";
		print $to "$n\n";
	}
	return;
}

sub noted { return () = slurp("$dir/note") =~ /\n/g }

# Some writes were synced that began after now.
sub goes_on
{
	my ($name) = @_;
	my $before = noted();
	my $on = eval { wait_until('writes', SOON, sub { noted() > $before + 3 || waitpid($writer, 1) }); noted() > $before };
	ok($on, $name) or diag(eval { slurp("$dir/err") }, $@);
	return;
}

$writer = fork() // die "fork: $!\n";
if (!$writer) {
	Weft::die_with_parent();
	eval { write_on("$dir/mnt/lines", "$dir/note"); 1 } or spew("$dir/err", $@);
	POSIX::_exit(1);
}
wait_until('the writer', SOON, sub { -e "$dir/note" && noted() > 0 });

for my $how (qw(kill stop kill)) {
	$cluster->$how('volmgr');
	$cluster->start('volmgr');
	goes_on("volmgr is back after a $how, and writes go on");
}
like($cluster->volctl('volume', 'list'), qr/^  vol .* \Q$device\E$/m, 'and still lists the device');

$cluster->kill('volmgr');
my $keeper_log = "$dir/run/attach/vol.keep.log";
wait_until('the keeper to notice', SOON, sub { slurp($keeper_log) =~ /requests wait until it is back\n\z/ });
my $refused = $cluster->volctl_run('volume', 'detach', 'vol');
isnt($refused->{status}, 0, 'nothing is detached meanwhile');
my $reader = fork() // die "fork: $!\n";
if (!$reader) {
	Weft::die_with_parent();
	exec('dd', "if=$device", 'of=/dev/null', 'bs=1M', 'count=4', 'skip=80', 'iflag=direct', 'status=none');
}
$cluster->start('volmgr');
is(pid_wait($reader, SOON) ? $? : 'late', 0, 'a read that came while volmgr was away is answered');
goes_on('and writes go on');

$cluster->kill;
$cluster->start;
goes_on('the same when everything is killed at once');

kill('KILL', $writer);
waitpid($writer, 0);
undef $writer;
my $last = noted();
run_ok('umount', "$dir/mnt");
is(run('fsck.ext4', '-fn', $device)->{status}, 0, 'the file system is whole');
run_ok('mount', $device, "$dir/mnt");
my $lines = slurp("$dir/mnt/lines");
my ($wrong, $first) = (0, $last > 4096 ? $last - 4096 : 0);
for my $n ($first .. $last - 1) {
	my $line = substr($lines, $n % 4096 * LINE, LINE);
	$wrong++ if $line !~ /\A(\d+) +\n\z/ || ($1 != $n && $1 != $n + 4096);
}
is($wrong, 0, "and all $last lines that were synced are there");
run_ok('umount', "$dir/mnt");
like($cluster->volctl('volume', 'detach', 'vol'), qr/detached/, 'detached');
is_deeply([ glob("$dir/run/attach/*") ], [], 'and nothing is left behind');
done_testing();
