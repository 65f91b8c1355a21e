#!/usr/bin/perl
# Whatever comes from outside: wrong arguments, sizes, names and profiles, servers that are none, clients
# that stop half-way, say nonsense or never read. Each gets a clear error or a time-out, and the other
# client, which does verified I/O all the time, notices nothing.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IO::Socket::INET;
use POSIX ();
use Test::More;
use Weft;
use Weft::Cluster;
use Weft::NBD;

need(qw(nbdsrv volmgr volctl fio nbdkit nbdinfo));
my $dir = temp_dir();
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '2+1', servers => 3, size => '64M', tcp => 1);
at_end(sub { $cluster->kill });
$cluster->up;
$cluster->create_volume('other', size => '64M');

# ---- the client that must not notice ----------------------------------------

my $fio;

sub other_client_start
{
	$fio = fork() // die "fork: $!";
	return if $fio;
	open(STDOUT, '>', "$dir/fio.out");
	open(STDERR, '>&', \*STDOUT);
	{ no warnings 'exec'; exec(tool('fio'), '--ioengine=nbd', '--uri=' . $cluster->uri('other'), '--name=other', '--size=32m',
		'--rw=randrw', '--bs=4k', '--iodepth=8', '--verify=crc32c', '--verify_fatal=1',
		'--verify_backlog=64', '--verify_state_save=0', '--time_based', '--runtime=600') }
	POSIX::_exit(127);
}

# A round trip of another client: it comes to its end, and is right.
sub others_fine
{
	my ($while) = @_;
	my $got = run({ timeout => 60 }, tool('qemu-io'), '-f', 'raw', '-c', 'write -P 0x42 40M 64k',
		'-c', 'read -P 0x42 40M 64k', $cluster->uri('other'));
	ok($got->{status} == 0 && $got->{out} !~ /failed/, "another client is served: $while")
	    or diag("$got->{err}$got->{out}");
	ok(pid_alive($fio), "and the one that was there goes on: $while")
	    or diag(slurp("$dir/fio.out"));
	return;
}

other_client_start();
at_end(sub { kill('KILL', $fio) });

# ---- command lines ----------------------------------------------------------

my @wrong = (
	[ nbdsrv => [] ],
	[ nbdsrv => ['--no-such-option'] ],
	[ nbdsrv => [ '--file', "$dir/none", '--listen', 'tcp:127.0.0.1:0' ], qr/\Q$dir\E\/none/ ],
	[ nbdsrv => [ '--file', $0, '--listen', 'nowhere:x' ], qr/nowhere/ ],
	[ nbdsrv => [ '--store', "$dir/none", '--secret', $cluster->secret ], qr/\Q$dir\E\/none/ ],
	[ nbdsrv => [ '--store', "$dir/s", '--format', '--size', '12parsecs', '--secret', $cluster->secret ],
		qr/12parsecs/ ],
	[ nbdsrv => [ '--store', "$dir/s", '--format', '--size', '1K', '--secret', $cluster->secret ] ],
	[ nbdsrv => [ '--store', $cluster->store_dir('server-1'), '--secret', $cluster->secret, '--listen',
		"unix:$dir/x.sock" ], qr/use/ ],
	[ nbdsrv => [ '--store', $cluster->store_dir('server-1'), '--format', '--size', '1G', '--secret',
		$cluster->secret ] ],
	[ volmgr => ['--no-such-option'] ],
	[ volmgr => [ '--dir', "$dir/v", '--secret', "$dir/none", '--listen', 'tcp:127.0.0.1:0', '--socket',
		"$dir/v.sock", '--http', 'tcp:127.0.0.1:0' ], qr/\Q$dir\E\/none/ ],
	[ volctl => [] ],
	[ volctl => ['fly'], qr/fly/ ],
	[ volctl => [ '--socket', "$dir/nobody.sock", 'status' ], qr/nobody\.sock/ ],
);
for my $case (@wrong) {
	my ($name, $args, $like) = @$case;
	my $got = run({ timeout => 60 }, program($name), @$args);
	ok($got->{status} > 0 && $got->{status} < 124, "$name @$args: refused")
	    or diag("status $got->{status}: $got->{err}");
	like($got->{err}, $like // qr/\w/, 'with a sentence');
}

# ---- volumes and servers ----------------------------------------------------

my @refused = (
	[ 'a name that is taken', [ 'create', 'vol', '--size', '1G' ], qr/vol/ ],
	[ 'a name with a slash', [ 'create', 'a/b', '--size', '1G' ], qr/name/i ],
	[ 'dots for a name', [ 'create', '..', '--size', '1G' ], qr/name/i ],
	[ 'an empty name', [ 'create', '', '--size', '1G' ], qr/name/i ],
	[ 'a name with a line break', [ 'create', "a\nb", '--size', '1G' ], qr/name/i ],
	[ 'a name that is no text', [ 'create', "\xff\xfe", '--size', '1G' ], qr/name/i ],
	[ 'a name of 500 bytes', [ 'create', 'x' x 500, '--size', '1G' ], qr/name/i ],
	[ 'no size', [ 'create', 'n1' ], qr/size/i ],
	[ 'a size of nothing', [ 'create', 'n2', '--size', '0' ], qr/size|0/i ],
	[ 'an odd size', [ 'create', 'n3', '--size', '4097' ], qr/4097|4 KiB|4096/ ],
	[ 'a negative size', [ 'create', 'n4', '--size', '-1G' ], qr/-1G|size/i ],
	[ 'a size beyond all limits', [ 'create', 'n5', '--size', '99999999P' ], qr/size|large|P/i ],
	[ 'a size in words', [ 'create', 'n6', '--size', 'big' ], qr/big/ ],
	[ 'more shards than servers', [ 'create', 'n7', '--size', '1G', '--ec', '4+2' ], qr/\b3\b/ ],
	[ 'k of nothing', [ 'create', 'n8', '--size', '1G', '--ec', '0+2' ], qr/k|data/i ],
	[ 'k of 17', [ 'create', 'n9', '--size', '1G', '--ec', '17+1' ], qr/16/ ],
	[ 'm of 5', [ 'create', 'n10', '--size', '1G', '--ec', '2+5' ], qr/4/ ],
	[ 'no profile', [ 'create', 'n11', '--size', '1G', '--ec', 'raid6' ], qr/raid6/ ],
	[ 'an odd unit', [ 'create', 'n12', '--size', '1G', '--unit', '5000' ], qr/unit/i ],
	[ 'a volume that is not there', [ 'show', 'nobody' ], qr/no volume/ ],
	[ 'deleting one that is not there', [ 'delete', 'nobody', '--yes' ], qr/no volume/ ],
	[ 'shrinking without a word', [ 'resize', 'vol', '32M' ], qr/shrink/i ],
);
for my $case (@refused) {
	my ($name, $args, $like) = @$case;
	my $got = $cluster->volctl_run('volume', @$args);
	ok($got->{status} == 1 || $got->{status} == 2, "volctl volume: $name is refused")
	    or diag("status $got->{status}: $got->{err}");
	like($got->{err}, $like, 'and it says why');
}
wait_until('the first writes', 60, sub { $cluster->get('/volumes/other')->{extents} });
my $got = $cluster->volctl_run('server', 'remove', 'server-1');
is($got->{status}, 1, 'a server with shards on it is not removed');

# Clients that stop half-way; what becomes of them is looked at later.
my $address = $cluster->{address}{volmgr};
my @held;
for (1 .. 20) {
	push @held, Weft::NBD->connect($address); # says nothing
	my $half = Weft::NBD->connect($address);
	$half->greet;
	$half->put(pack('Q>', Weft::NBD::IHAVEOPT)); # half an option
	push @held, $half;
}
others_fine('forty clients stop in the middle of the handshake');

# Servers that are none: each within the time that a person waits.
my $closed = IO::Socket::INET->new(LocalAddr => '127.0.0.1:0', Listen => 1);
my $closed_port = $closed->sockport;
close($closed);
my $mute = IO::Socket::INET->new(LocalAddr => '127.0.0.1:0', Listen => 8);
my $nbdkit = daemon_start(name => 'nbdkit', log => "$dir/nbdkit.log", no_ready => 1,
	argv => [ tool('nbdkit'), '-f', '-U', "$dir/nbdkit.sock", 'memory', '64M' ]);
wait_until('nbdkit', 60, sub { -S "$dir/nbdkit.sock" });
(my $http = $cluster->http) =~ s/\Atcp://;
my @servers = (
	[ 'nobody listens', "tcp:127.0.0.1:$closed_port" ],
	[ 'it never answers', 'tcp:127.0.0.1:' . $mute->sockport ],
	[ 'it speaks HTTP', "tcp:$http" ],
	[ 'it is another NBD server', "unix:$dir/nbdkit.sock" ],
	[ 'it is volmgr itself', $cluster->{address}{volmgr} ],
	[ 'it is there already', $cluster->{address}{'server-2'} ],
	[ 'it is no address', 'here:there:everywhere' ],
);
for my $case (@servers) {
	my ($name, $address) = @$case;
	$got = run({ timeout => 60 }, program('volctl'), '--socket', $cluster->socket, 'server', 'add',
		$address, '--name', 'bad');
	ok($got->{status} == 1 || $got->{status} == 2, "volctl server add: $name")
	    or diag("status $got->{status}: $got->{out}$got->{err}");
	like($got->{err}, qr/\w+ \w+/, 'with a sentence: ' . ($got->{err} =~ s/\n.*//sr));
}
daemon_stop($nbdkit);
others_fine('servers that are none');

# ---- bad clients ------------------------------------------------------------

ok($held[0]->closed_within(60), 'a client that says nothing is closed in the end');
ok($held[1]->closed_within(60), 'one that stops half-way too');
@held = ();

srand(my $seed = time);
diag("seed $seed");
for my $round (1 .. 30) {
	my $c = Weft::NBD->connect($address);
	$c->greet if $round % 3;
	my $bytes = join('', map { chr int rand 256 } 1 .. 1 + int rand 5000);
	$bytes = pack('Q> N N', Weft::NBD::IHAVEOPT, int rand 20, int rand 2**32) . $bytes if $round % 2;
	eval { $c->put($bytes) };
}
others_fine('thirty clients send random bytes');

my $named = Weft::NBD->connect($address);
ok(!eval { $named->go("no\0such/../volume"); 1 }, 'a volume that is not there cannot be opened');
like($@, qr/OPT_GO: error 0x80000006/, 'and that is what the client is told');
ok(eval { Weft::NBD->connect($address)->go('vol'); 1 }, 'one that is there can');

my $private = Weft::NBD->connect($cluster->{address}{'server-1'});
ok(!eval { $private->go('weft-store'); 1 } && !eval { Weft::NBD->connect($cluster->{address}{'server-1'})->go(''); 1 },
	'a server gives its store to nobody without the secret');

my $c = Weft::NBD->connect($address)->go('vol');
$c->put($c->request(Weft::NBD::CMD_READ, 60 << 20, 8 << 20));
is(($c->reply(0))[0], 22, 'reading past the end is EINVAL');
$c->put($c->request(Weft::NBD::CMD_WRITE, 64 << 20, 512, 'x' x 512));
is(($c->reply(0))[0], 28, 'writing past the end is ENOSPC');
$c->put($c->request(99, 0, 4096));
is(($c->reply(0))[0], 22, 'a command that there is not is EINVAL');
$c->put($c->request(Weft::NBD::CMD_READ, 0, 4096));
is(($c->reply(4096))[0], 0, 'and the stream goes on after each');
$c->put(pack('N', 0xdeadbeef) . 'x' x 24);
ok($c->closed_within(60), 'a wrong magic ends it');

# Clients that ask for much and never read.
my $resident = sub { (slurp('/proc/' . $cluster->pid('volmgr') . '/status') =~ /VmRSS:\s+([0-9]+)/)[0] };
for (1 .. 8) {
	my $greedy = Weft::NBD->connect($address)->go('vol');
	my $asked = join('', map { $greedy->request(Weft::NBD::CMD_READ, 0, 1 << 20) } 1 .. 2000);
	$greedy->put_some($asked);
	push @held, $greedy;
}
others_fine('eight clients ask for 2 GB each and never read');
cmp_ok($resident->(), '<', 600 << 10, 'the memory that takes is bounded');
others_fine('and still');
@held = ();

# Clients that begin a large write and stop, and ones that go away with requests under way.
for (1 .. 20) {
	my $writer = Weft::NBD->connect($address)->go('vol');
	$writer->put($writer->request(Weft::NBD::CMD_WRITE, 0, 16 << 20, 'x' x 100_000));
	push @held, $writer if $_ % 2;
	my $leaver = Weft::NBD->connect($address)->go('vol');
	$leaver->put(join('', map { $leaver->request(Weft::NBD::CMD_READ, $_ << 12, 65536) } 1 .. 100));
}
others_fine('clients that stop in the middle of a write, or leave in the middle of reads');
@held = ();

my $many = grep { eval { push @held, Weft::NBD->connect($address); 1 } } 1 .. 900;
cmp_ok($many, '>', 100, "$many connections at once");
@held = ();
others_fine('after nine hundred connections at once');

# ---- in the end -------------------------------------------------------------

kill('INT', $fio);
ok(pid_wait($fio, 60), 'the client that was there all the time ends');
my $said = slurp("$dir/fio.out");
like($said, qr/err= 0/, 'without an error') or diag($said);
unlike($said, qr/verify: bad|verify failed/i, 'and all it read was what it wrote');
for my $name ($cluster->names) {
	ok(defined $cluster->pid($name), "$name runs") or diag(slurp($cluster->log_file($name)));
}
done_testing();
