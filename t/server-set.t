#!/usr/bin/perl
# A server gets another address: under load, after it was away, from an address where nobody answers any more. It must
# be the same store, else all stays as it was. Nothing is made anew but what was missed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Digest::SHA;
use IO::Socket::INET;
use Socket qw(SOCK_STREAM IPPROTO_TCP pack_sockaddr_in inet_aton);
use Test::More;
use Weft;
use Weft::Cluster;
use Weft::HTTP;

need(qw(nbdsrv volmgr volctl qemu-io nbdcopy));
my $hammer = build_dir() . '/t/tools/hammer';
skip_all('t/tools/hammer is not built') if !-x $hammer;
my $seed = $ENV{WEFT_SEED} // time;
my $dir = temp_dir();
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '2+2', size => '64M', tcp => 1,
	args => { volmgr => [qw(--server-timeout 60000)], 'server-2' => [ '--listen', "unix:$dir/two.sock" ] });
at_end(sub { $cluster->kill });
$cluster->up;

sub server { return $cluster->get("/servers/$_[0]") }
sub up { my ($name) = @_; return eval { wait_until("$name to be up", 60, sub { server($name)->{state} eq 'up' }) } }
sub rebuilt { return eval { wait_until('the rebuild', 120, sub { my $s = $cluster->get('/status'); $s->{rebuild}{shards} == 0 && $s->{servers}{up} == 4 }) } }
sub port { return $_[0] =~ /:([0-9]+)\z/ ? $1 : die "no port: $_[0]" }

# TCP connections of this machine to a port of loopback that are in a state (1: made, 2: being made).
sub connections
{
	my ($port, $state) = @_;
	return scalar grep { /^\s*\d+: \S+ \S+:([0-9A-F]+) ([0-9A-F]+) / && hex($1) == $port && hex($2) == $state } split(/\n/, slurp('/proc/net/tcp'));
}

sub digest
{
	unlink("$dir/out");
	run_ok(tool('nbdcopy'), $cluster->uri, "$dir/out");
	return Digest::SHA->new(256)->addfile("$dir/out", 'b')->hexdigest;
}

my ($version) = run_ok(program('nbdsrv'), '--version') =~ /\(weft\) (\S+)/;
is_deeply([ map { $_->{version} } @{ $cluster->get('/servers')->{servers} } ], [ ($version) x 4 ], 'servers tell their versions');
is_deeply($cluster->get('/status')->{server_versions}, { $version => [ map { "server-$_" } 1 .. 4 ] }, 'as the status does, all together');
like($cluster->volctl(qw(server show server-1)), qr/^  version  \Q$version\E$/m, 'which volctl shows');

# ---- under load: it answers at both ------------------------------------------

my $out = "$dir/hammer.out";
my $pid = fork() // die "fork: $!\n";
if (!$pid) {
	open(STDOUT, '>', $out) or POSIX::_exit(126);
	open(STDERR, '>&', \*STDOUT) or POSIX::_exit(126);
	Weft::die_with_parent();
	{ no warnings 'exec'; exec($hammer, '--seed', $seed, '--stall', 60, '--seconds', 120, $cluster->uri); }
	POSIX::_exit(127);
}
at_end(sub { kill('KILL', $pid) if $pid });
wait_until('hammer to begin', 120, sub { !pid_alive($pid) || -e $out && slurp($out) =~ /^begun$/m });
my $old = server('server-2')->{address};
is($old, $cluster->{address}{'server-2'}, 'the address it was added with');
my $route = server('server-2')->{route};
cmp_ok(connections(port($old), 1), '>', 0, 'volmgr is connected there');
like($cluster->volctl(qw(server set server-2 --address), "unix:$dir/two.sock"), qr/^Server server-2 is at unix:\S+two\.sock, on host host-server-2\.$/m, 'volctl says where it is now');
ok(up('server-2'), 'it is up');
ok(eval { wait_until('the old connections to end', 60, sub { connections(port($old), 1) == 0 }) }, 'and nobody is at the old address') or diag($@);
ok(eval { wait_until('routes', 60, sub { server('server-2')->{route} eq $route }) }, "reads are routed as before ($route)");
$cluster->volctl(qw(server set server-2 --address), $old);
ok(eval { wait_until('new connections', 60, sub { connections(port($old), 1) > 0 }) }, 'and back');
$cluster->volctl(qw(server set server-2 --address), "unix:$dir/two.sock");
ok(up('server-2'), 'and there again');
my $events = $cluster->get('/events')->{events};
is(scalar(grep { $_->{what} eq 'server.down' } @$events), 0, 'it was never down');
is(scalar(grep { $_->{what} eq 'server.changed' && $_->{object} eq 'server-2' } @$events), 3, 'events tell of it');

# ---- it was away -------------------------------------------------------------

$cluster->kill('server-3');
wait_until('stale shards', 120, sub { $cluster->get('/status')->{rebuild}{shards} > 0 });
my $blind = server('server-3')->{address};
# who connects there now waits for long: nobody takes calls any more. The kernel keeps the sockets of a killed process
# until its ring has come to rest.
my $hole = wait_until('the port of a killed server', 60, sub { IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => port($blind), Listen => 1, ReuseAddr => 1) });
listen($hole, 0);
my @full = map {
	my $s = IO::Socket::INET->new(Proto => 'tcp', Blocking => 0) or die $!;
	connect($s, pack_sockaddr_in(port($blind), inet_aton('127.0.0.1')));
	$s;
} 1 .. 3;
ok(eval { wait_until('volmgr to wait there', 60, sub { connections(port($blind), 2) > @full - 1 }) }, 'volmgr connects to where nobody answers') or diag($@);
$cluster->{address}{'server-3'} = 'tcp:127.0.0.1:0';
$cluster->start('server-3');
my $there = $cluster->{address}{'server-3'};
isnt($there, $blind, 'the server is elsewhere');
isnt(server('server-3')->{state}, 'up', 'which nobody knows');
$cluster->volctl(qw(server set server-3 --address), $there =~ s/\Atcp://r);
ok(up('server-3'), 'until it is said') or diag(json_encode(server('server-3')));
is(server('server-3')->{address}, $there, 'it has the new address');
close($_) for @full, $hole;
kill('TERM', $pid);
waitpid($pid, 0);
is($?, 0, 'every byte is right') or diag(slurp($out));
$pid = 0;
ok(rebuilt(), 'what it missed is made anew');

# ---- only what was missed ----------------------------------------------------

my $before = server('server-1')->{rebuilt_shards};
$cluster->kill('server-1');
run_ok(tool('qemu-io'), '-f', 'raw', '-c', 'write -P 23 0 256k', '-c', 'flush', $cluster->uri);
my $sum = digest();
$cluster->{address}{'server-1'} = 'tcp:127.0.0.1:0';
$cluster->start('server-1');
$cluster->volctl(qw(server set server-1 --address), $cluster->{address}{'server-1'}, '--host', 'shelf');
ok(up('server-1') && rebuilt(), 'another one moves');
ok(eval { wait_until('a shard', 60, sub { server('server-1')->{rebuilt_shards} > $before }) } && rebuilt(), 'and something is made anew') or diag(json_encode(server('server-1')));
is(server('server-1')->{rebuilt_shards} - $before, 1, 'the one shard that it missed');
is(server('server-1')->{host}, 'shelf', 'it is on another host, too');
$cluster->kill('server-2', 'server-3');
is(digest(), $sum, 'without two others every byte is the same');
$cluster->start('server-2', 'server-3');
ok(up('server-2') && up('server-3') && rebuilt(), 'which are back at their addresses');

# ---- refused -----------------------------------------------------------------

my $closed = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die $!;
my $nobody = 'tcp:127.0.0.1:' . $closed->sockport;
close($closed);
mkdir("$dir/other");
run_ok(program('nbdsrv'), '--store', "$dir/other", qw(--format --size 64M --secret), $cluster->secret);
my $other = daemon_start(name => 'other', log => "$dir/other.log", argv => [ program('nbdsrv'), '--store', "$dir/other",
	'--secret', $cluster->secret, '--listen', "unix:$dir/other.sock" ]);
my $here = server('server-4')->{address};
my @refused = (
	[ 'where nobody answers', $nobody, 'cannot_connect', qr/cannot be reached.*It stays at \Q$here\E.*Is nbdsrv running there/s ],
	[ 'where another store is', "unix:$dir/other.sock", 'another_store', qr/not that of server server-4, which stays at \Q$here\E/ ],
	[ 'where the store of another server is', $old, 'another_store', qr/is that of server server-2\. Server server-4 stays at/ ],
	[ 'that another server has', "unix:$dir/two.sock", 'address_taken', qr/belongs to server server-2 already/ ],
);
for (@refused) {
	my ($what, $address, $code, $says) = @$_;
	my $got = $cluster->volctl_run(qw(server set server-4 --address), $address);
	is($got->{status}, 1, "an address $what is refused");
	like($got->{err}, $says, 'and why');
	my ($status, $body) = http_local($cluster->socket, PATCH => '/servers/server-4', { address => $address });
	is($body->{error}{code} // $body->{code}, $code, "for programs: $code") or diag(json_encode($body));
	is(server('server-4')->{address}, $here, 'it is where it was');
	is(server('server-4')->{state}, 'up', 'and up');
}
daemon_stop($other);
like($cluster->volctl_run(qw(server set nobody --host h))->{err}, qr/no server/, 'a server that is not there is not changed');
is($cluster->volctl_run(qw(server set server-4))->{status}, 2, 'something must change');
is($cluster->volctl_run(qw(server set server-4 --address tcp:))->{status}, 2, 'an address must be one');
is($cluster->volctl_run(qw(server set server-4 --host), '-x')->{status}, 2, 'and a host a name');
is((http_local($cluster->socket, PATCH => '/servers/server-4', {}))[0], 400, 'the API wants something, too');
is($cluster->volctl_run(qw(server set server-4 --address), $here)->{status}, 0, 'its own address is no change');
is(digest(), $sum, 'nothing is lost');

# ---- over a restart ----------------------------------------------------------

my %address = map { $_->{name} => $_->{address} } @{ $cluster->get('/servers')->{servers} };
$cluster->stop('volmgr');
$cluster->start('volmgr');
ok(up($_), "$_ is up after a restart of volmgr") for sort keys %address;
is_deeply([ map { $_->{version} } @{ $cluster->get('/servers')->{servers} } ], [ ($version) x 4 ], 'with their versions');
is_deeply({ map { $_->{name} => $_->{address} } @{ $cluster->get('/servers')->{servers} } }, \%address, 'all have their addresses');
is(server('server-1')->{host}, 'shelf', 'and their hosts');
is(digest(), $sum, 'and every byte is the same');
ok(eval { wait_until('agreement', 60, sub { $cluster->volctl_run('check')->{status} == 0 }) }, 'metadata and servers agree') or diag($cluster->volctl_run('check')->{out});
done_testing();
