#!/usr/bin/perl
# volctl volume attach and detach where the kernel has no nbd: nbdfuse and a loop device, for real, on an
# NBD server that is not ours. Flushes and discards must reach it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;
use Weft::FakeVolmgr;

need(qw(volctl nbdkit nbdfuse mkfs.ext4));
skip_all('only root can make block devices') if $>;
skip_all('there is no /dev/fuse here') if !-w '/dev/fuse';
skip_all('there is no loop driver here') if !-w '/dev/loop-control';

use constant SIZE => 96 << 20;
my $dir = temp_dir();
mkdir "$dir/mnt" or die;
my $log = "$dir/nbdkit.log";
# larger than the volume: room to grow
my $nbdkit = daemon_start(name => 'nbdkit', no_ready => 1, log => "$dir/nbdkit.out",
	argv => [tool('nbdkit'), '-f', '-U', "$dir/nbd.sock", '--filter=log', 'memory', '256M', "logfile=$log"]);
wait_until('nbdkit', 60, sub { -S "$dir/nbd.sock" });
my $socket = Weft::FakeVolmgr::start($dir, listen => ['tcp:127.0.0.1:1', "unix:$dir/nbd.sock"]);
my %env = (WEFT_SOCKET => $socket, WEFT_RUN_DIR => "$dir/run", WEFT_ATTACH => 'nbdfuse');
sub volctl { return run({ env => \%env, timeout => 60 }, program('volctl'), @_) }
sub count { my ($word) = @_; return scalar(() = slurp($log) =~ /\Q$word\E id/g) }

is(volctl(qw(volume create v1 --size), SIZE)->{status}, 0, 'a volume');
at_end(sub { run('umount', "$dir/mnt"); volctl(qw(volume detach v1)) });
my $got = volctl(qw(volume attach v1));
is($got->{status}, 0, 'it is attached') or BAIL_OUT($got->{err});
like($got->{out}, qr{\A/dev/loop\d+\n\z}, 'and the device is printed, nothing else');
chomp(my $device = $got->{out});
is(run_ok('blockdev', '--getsize64', $device) + 0, SIZE, 'its size is exact');
my $again = volctl(qw(volume attach v1));
is($again->{status}, 1, 'attaching twice is refused');
like($again->{err}, qr/attached already: $device/, 'and says where it is');
like(volctl(qw(volume list))->{out}, qr/^  v1 .* \Q$device\E$/m, 'the list shows the device');
like(volctl(qw(volume delete v1 --yes))->{err}, qr/attached here as $device/, 'it cannot be deleted now');

run_ok('mkfs.ext4', '-q', '-b', '4096', $device);
run_ok('mount', $device, "$dir/mnt");
my $data = join('', map { pack('N*', map { $_ * 2654435761 % 2**32 } 1 .. 4096) } 1 .. 256);
spew("$dir/mnt/file", $data);
my $flushes = count('Flush');
run_ok('sync', '-f', "$dir/mnt");
cmp_ok(count('Flush'), '>', $flushes, 'sync reaches the server as FLUSH');
my $busy = volctl(qw(volume detach v1));
is($busy->{status}, 1, 'detach is refused while it is mounted');
like($busy->{err}, qr{\Q$device\E is mounted on \Q$dir/mnt\E\nhint: umount it first}, 'and says where');

my $grown = volctl(qw(volume resize v1 192M));
is(run_ok('blockdev', '--getsize64', $device) + 0, 192 << 20, 'it grows while it is mounted');
like($grown->{err}, qr/resize2fs $device/, 'what to run is said');

spew("$dir/mnt/rubbish", 'x' x (8 << 20));
run_ok('sync', '-f', "$dir/mnt");
unlink "$dir/mnt/rubbish";
run_ok('sync', '-f', "$dir/mnt");
my $trims = count('Trim');
my $trim = run('fstrim', "$dir/mnt");
SKIP: {
	skip('this kernel cannot discard through FUSE', 1) if $trim->{status};
	cmp_ok(count('Trim'), '>', $trims, 'fstrim reaches the server as TRIM');
}
run_ok('umount', "$dir/mnt");
$got = volctl(qw(volume detach v1));
is($got->{status}, 0, 'it is detached') or diag($got->{err});
like(volctl(qw(volume list))->{out}, qr/^  v1 .* -$/m, 'and listed as such');
is_deeply([glob("$dir/run/attach/*")], [], 'nothing is left behind');

$got = json_decode(volctl(qw(volume attach v1 --connections 2 --json))->{out});
is($got->{size}, 192 << 20, 'attached again, as JSON');
run_ok('fsck.ext4', '-fn', $got->{device});
run_ok('mount', $got->{device}, "$dir/mnt");
ok(slurp("$dir/mnt/file") eq $data, 'the file is as it was written');
run_ok('umount', "$dir/mnt");

# nbdfuse dies: what is left is cleaned up by the next attach
my $record = json_decode(slurp("$dir/run/attach/v1.json"));
kill('KILL', $record->{nbdfuse_pid});
ok(pid_wait($record->{nbdfuse_pid}, 60), 'nbdfuse is killed');
like(volctl(qw(volume detach v1))->{out} . volctl(qw(volume attach v1))->{out}, qr{/dev/loop},
	'after that it can be attached again');

# so does its keeper
$record = json_decode(slurp("$dir/run/attach/v1.json"));
kill('KILL', $record->{keeper_pid});
ok(pid_wait($record->{keeper_pid}, 60), 'the keeper is killed');
is(volctl(qw(volume detach v1))->{status}, 0, 'and it can still be detached');
is_deeply([glob("$dir/run/attach/*")], [], 'with nothing left behind');

# a record of another boot: the processes in it are not its own any more
is(volctl(qw(volume attach v1))->{status}, 0, 'attached again');
my $live = json_decode(slurp("$dir/run/attach/v1.json"));
spew("$dir/run/attach/v1.json", json_encode({ %$live, boot => 'an-earlier-one', keeper_pid => $$ }));
like(volctl(qw(volume list))->{out}, qr/^  v1 .* -$/m, 'a record of an earlier boot shows no device');
spew("$dir/run/attach/v1.json", json_encode($live));
is(volctl(qw(volume detach v1))->{status}, 0, 'its own is detached');

# what cannot work says so
is(volctl(qw(volume create v2 --size), 1 << 30)->{status}, 0, 'a volume larger than what the server has');
$got = volctl(qw(volume attach v2));
is($got->{status}, 1, 'is not attached');
kill('TERM', $nbdkit->{pid});
pid_wait($nbdkit->{pid}, 60);
$got = volctl(qw(volume attach v1));
is($got->{status}, 1, 'without a server attach fails');
like($got->{err}, qr/cannot open the volume at unix:\S+: (?:No such file|Connection refused)/, 'with the reason');
is_deeply([glob("$dir/run/attach/*")], [], 'and leaves nothing behind');

done_testing();
