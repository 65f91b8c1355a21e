#!/usr/bin/perl
# Large reads of servers on other machines (network namespaces behind veth pairs), whose bytes come past volmgr
# (bpf/remote.h): every byte is right, comes once, and an answer is whole, also when a server is killed or hangs in
# the middle, when the client does not read, and while it writes. Without room for it, volmgr reads as ever.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IO::Select;
use Socket qw(SOL_SOCKET SO_RCVBUF);
use Test::More;
use Weft;
use Weft::Cluster;
use Weft::Hosts;
use Weft::NBD;
use Weft::Room;

use constant { BLOCK => 4096, UNIT => 65536, SIZE => 64 << 20, REGION => 64 << 20, DEPTH => 16,
	SMALL => 212_992, RACED => 64, HANG_READS => 300, STOPPED_READS => 300, MUCH => 16 << 20 };

need(qw(nbdsrv volmgr volctl));
my $missing = Weft::Hosts::missing();
skip_all($missing) if $missing;

Weft::Room::enter(@ARGV);
my $seed = $ENV{WEFT_SEED} // time | 0;
srand($seed);
diag("seed $seed");
my $hosts = Weft::Hosts->new(2);
my $dir = temp_dir();
my @remote = map { "server-$_" } 1 .. 2;
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '2+1', size => SIZE, args => { volmgr => [qw(--bpf all)] },
	host => { map { +"server-$_" => "host-$_" } 1 .. 3 },
	address => { map { +"server-$_" => 'tcp:' . $hosts->address($_) . ':0' } 1 .. 2 },
	prefix => { map { +"server-$_" => [ $hosts->prefix($_) ] } 1 .. 2 });
at_end(sub { $cluster->kill });
$cluster->up;
my $ebpf = $cluster->get('/status')->{ebpf};
skip_all("eBPF is off here: $ebpf->{why}") if $ebpf->{state} ne 'on';
skip_all("not here: $ebpf->{remote_why}") if $ebpf->{remote_why} ne '';

my @version = (0) x (REGION / BLOCK); # of each block: what it holds

sub block { my ($n, $version) = @_; return pack('Q> Q> Q>', $n, $seed, $version) x (BLOCK / 24) . "\0" x (BLOCK % 24) }
sub wanted { my ($at, $len) = @_; return join('', map { block($_, $version[$_]) } $at / BLOCK .. ($at + $len) / BLOCK - 1) }
sub client
{
	my ($host, $port) = $cluster->host_port;
	return Weft::NBD->connect("tcp:$host:$port")->go('vol', structured => 1);
}
sub counts { my %by = map { $_->{name} => $_ } @{ $cluster->get('/counters')->{servers} }; return \%by }
sub steered { my $c = counts(); return $c->{ $_[0] }{routed}{count} }
sub is_steered { my ($name) = @_; return counts()->{$name}{route} eq 'steered' }

# Nothing is to be rebuilt any more either: writes went on without it.
sub is_back { my ($name) = @_; return is_steered($name) && $cluster->get('/status')->{rebuild}{shards} == 0 }

sub write_at
{
	my ($c, $at, $len) = @_;
	my %wait;
	$version[$_]++ for $at / BLOCK .. ($at + $len) / BLOCK - 1;
	$c->put($c->request(Weft::NBD::CMD_WRITE, $at, $len, wanted($at, $len)));
	$wait{ $c->{handle} } = [ $at, 0 ];
	my ($handle, $error) = $c->answer(\%wait);
	return defined $handle && !$error;
}

# What was waited for, and what volmgr knows, is told.
sub gave_up
{
	my ($why, $wait) = @_;
	my $known = eval { json_encode($cluster->get('/counters')->{servers}) } // $@;
	my @log = split(/\n/, slurp($cluster->log_file('volmgr')));
	splice(@log, 0, @log - 20) if @log > 20;
	diag($_) for 'not answered: ' . join(', ', map { "$_->[1] at $_->[0]" } values %$wait), $known, @log;
	return $why;
}

# Reads at random, DEPTH at once; each says what is to happen before it is asked for. undef: each was right.
sub read_some
{
	my ($c, $n, $before, @lens) = @_;
	my %wait;
	for (my $asked = 0; $asked < $n || keys %wait;) {
		while ($asked < $n && keys %wait < DEPTH) {
			my $len = $lens[rand @lens];
			my $at = int(rand((REGION - $len) / UNIT)) * UNIT;
			$before->($asked++);
			$c->put($c->request(Weft::NBD::CMD_READ, $at, $len));
			$wait{ $c->{handle} } = [ $at, $len ];
		}
		my ($handle, $error, $data) = eval { $c->answer(\%wait) };
		return gave_up($@ || 'the connection broke', \%wait) if !defined $handle;
		my ($at, $len) = @{ delete $wait{$handle} };
		return "error $error at $at" if $error;
		return "wrong bytes: $len at $at" if $data ne wanted($at, $len);
	}
	return undef;
}
sub nothing { return }

my $c = client();
for (my $at = 0; $at < REGION; $at += 1 << 20) {
	write_at($c, $at, 1 << 20) or die "the first writes fail\n";
}
my @sizes = (32 << 10, UNIT, UNIT, 2 * UNIT, 300 << 10, 1 << 20);

# ---- who is steered ---------------------------------------------------------

ok(wait_until('both remote servers to be steered', 90, sub { is_steered($remote[0]) && is_steered($remote[1]) }),
	'bytes of both remote servers may come past volmgr');
like($cluster->volctl('status'), qr/^ +ebpf +on: reads are routed to 1 of 3 servers; large ones come past volmgr from 2 remote$/m,
	'volctl status says so');
like($cluster->volctl('server', 'show', 'server-1'), qr/^ +routed +it is on another machine: bytes of large reads come past volmgr$/m,
	'volctl server show says so');
my %before = map { $_ => steered($_) } @remote;
is(read_some($c, 200, \&nothing, 16 << 10), undef, 'reads of 16 KiB: all right');
is(steered($_), $before{$_}, "none of them came past volmgr from $_") for @remote;
is(read_some($c, 400, \&nothing, UNIT), undef, 'reads of one unit: all right');
for my $name (@remote) { # one that a busy machine makes slow is not asked for a while
	ok(wait_until("many reads of one unit to come past volmgr from $name", 60, sub {
		return steered($name) > $before{$name} + 20 || do { die "a read fails\n" if read_some($c, 50, \&nothing, UNIT); 0 };
	}), "many of them come past volmgr from $name");
}
is(read_some($c, 300, \&nothing, @sizes), undef, 'reads of all sizes: all right');
{
	open(my $top, '-|', program('volctl'), '--socket', $cluster->socket, qw(top --once)) or die "volctl: $!\n";
	my $end = time + 90;
	while (time < $end && !Weft::wait_readable(fileno($top), 0)) { # it looks for a second
		read_some($c, 50, \&nothing, UNIT);
	}
	like(do { local $/ = undef; readline($top) }, qr/^ *server-1 .* [1-9][0-9]*%$/m, 'volctl top shows which share');
}

# ---- never stale ------------------------------------------------------------

{
	my $writer = client();
	my $bad;
	for my $i (1 .. 100) {
		my $at = int(rand(REGION / UNIT - 4)) * UNIT;
		write_at($writer, $at, (1 + int(rand(4))) * UNIT) or die "a write fails\n";
		# what was acknowledged is read by another connection
		my %wait;
		$c->put($c->request(Weft::NBD::CMD_READ, $at, 4 * UNIT));
		$wait{ $c->{handle} } = [ $at, 4 * UNIT ];
		my (undef, $error, $data) = $c->answer(\%wait);
		$bad = "block at $at" if $error || $data ne wanted($at, 4 * UNIT);
	}
	is($bad, undef, 'what was acknowledged is what is read');
}

# One connection writes, another reads, both without a pause: each block read is whole, and neither older than what was
# acknowledged when it was asked for nor newer than what was written. undef: so it was.
sub race
{
	my ($seconds, $at_half) = @_;
	my ($writer, $reader) = (client(), client());
	my @acked = @version;
	my ($end, $n, %w, %r) = (time + $seconds, 0);
	while (time < $end || keys %r || keys %w) {
		if (time < $end && !keys %w) {
			my ($at, $len) = (int(rand(RACED - 4)) * UNIT, (1 + int(rand(4))) * UNIT);
			$version[$_]++ for $at / BLOCK .. ($at + $len) / BLOCK - 1;
			$writer->put($writer->request(Weft::NBD::CMD_WRITE, $at, $len, wanted($at, $len)));
			$w{ $writer->{handle} } = [ $at, 0, $len ];
		}
		while (time < $end && keys %r < DEPTH) {
			my ($at, $len) = (int(rand(RACED - 4)) * UNIT, (1, 1, 4)[rand 3] * UNIT);
			$at_half->() if $at_half && ++$n == 200;
			$reader->put($reader->request(Weft::NBD::CMD_READ, $at, $len));
			$r{ $reader->{handle} } = [ $at, $len, [ @acked[ $at / BLOCK .. ($at + $len) / BLOCK - 1 ] ] ];
		}
		if (keys %w && (!keys %r || IO::Select->new($writer->{io})->can_read(0))) {
			my ($handle, $error) = $writer->answer(\%w);
			return 'a write fails' if !defined $handle || $error;
			my ($at, undef, $len) = @{ delete $w{$handle} };
			$acked[$_] = $version[$_] for $at / BLOCK .. ($at + $len) / BLOCK - 1;
		}
		next if !keys %r;
		my ($handle, $error, $data) = eval { $reader->answer(\%r) };
		return $@ || 'a read fails' if !defined $handle || $error;
		my ($at, $len, $least) = @{ delete $r{$handle} };
		for my $i (0 .. $len / BLOCK - 1) {
			my $got = substr($data, $i * BLOCK, BLOCK);
			my ($where, undef, $v) = unpack('Q> Q> Q>', $got);
			return "block $where at $at + $i" if $got ne block($at / BLOCK + $i, $v);
			return "block $where: version $v, at least $least->[$i]" if $v < $least->[$i] || $v > $version[$where];
		}
	}
	return undef;
}
{
	my $before = steered('server-1') + steered('server-2'); # one of them has data of the first extent
	is(race(3), undef, 'reads that race with writes are never older than what was acknowledged');
	cmp_ok(steered('server-1') + steered('server-2'), '>', $before, 'and came past volmgr');
	is(race(4, sub { $cluster->kill('server-2') }), undef, 'nor when a server is killed');
	$cluster->start('server-2');
	ok(wait_until('server-2 to be steered', 90, sub { is_back('server-2') }), 'it is back');
}

# ---- a server dies, and hangs -----------------------------------------------

for my $name (@remote) {
	my $c = client();
	is(read_some($c, HANG_READS, sub { $cluster->kill($name) if $_[0] == HANG_READS / 3 }, @sizes), undef,
		"$name is killed while reads are on their way: all right");
	$cluster->start($name);
	ok(wait_until("$name to be steered", 90, sub { is_back($name) }), 'it is back');
}
for my $name (@remote) {
	my $c = client();
	my $pid = $cluster->pid($name);
	is(read_some($c, HANG_READS, sub { kill('STOP', $pid) if $_[0] == HANG_READS / 3; kill('CONT', $pid) if $_[0] == HANG_READS - 1 },
		@sizes), undef, "$name hangs while reads are on their way: all right");
	kill('CONT', $pid);
	ok(wait_until("$name to be steered", 90, sub { is_back($name) }), 'it goes on');
	is(read_some($c, 100, \&nothing, @sizes), undef, 'what it sent late is nowhere: all right');
}
{
	my $c = client();
	is(read_some($c, HANG_READS, sub { $hosts->cut(1) if $_[0] == HANG_READS / 3 }, @sizes), undef, 'the link is cut: all right');
	$hosts->mend(1);
	ok(wait_until('server-1 to be steered', 90, sub { is_back('server-1') }), 'and mended');
}

# ---- clients that do not read, and that go ----------------------------------

{
	my ($idle, $busy) = (client(), client());
	my %wait;
	for my $i (1 .. STOPPED_READS) {
		my $at = $i % (REGION / UNIT) * UNIT;
		$idle->put($idle->request(Weft::NBD::CMD_READ, $at, $i % 3 ? UNIT : 32 << 10));
		$wait{ $idle->{handle} } = [ $at, $i % 3 ? UNIT : 32 << 10 ];
	}
	is(read_some($busy, 200, \&nothing, @sizes), undef, 'a client does not read: others go on');
	my $bad;
	while (keys %wait) {
		my ($handle, $error, $data) = eval { $idle->answer(\%wait) };
		$bad = $@ || 'the connection broke' if !defined $handle;
		last if $bad;
		my ($at, $len) = @{ delete $wait{$handle} };
		$bad = "wrong bytes at $at" if $error || $data ne wanted($at, $len);
	}
	is($bad, undef, 'then it reads: all right');
	is(read_some($idle, 100, \&nothing, @sizes), undef, 'and goes on: all right');
}
{
	my ($idle, %wait) = client();
	my $steered = sub { return steered($remote[0]) + steered($remote[1]) };
	my $comes = sub { # past volmgr?
		my ($c, $at, $wait) = @_;
		my $before = $steered->();
		$c->put($c->request(Weft::NBD::CMD_READ, $at, UNIT));
		$wait->{ $c->{handle} } = [ $at, UNIT ];
		return eval { wait_until('a read to come past volmgr', 1, sub { $steered->() > $before }) };
	};
	my $at; # one that is on a remote server
	wait_until('a read to come past volmgr', 60, sub { ($at) = grep { my $c = client(); $comes->($c, $_ * UNIT, {}) } 0 .. 3; defined $at });
	setsockopt($idle->{io}, SOL_SOCKET, SO_RCVBUF, pack('i', UNIT)); # so the kernel keeps most elsewhere, which counts, too
	my ($n, $not) = (0, 0);
	for (; $n < MUCH / UNIT && $not < 3; $n++) {
		$not = $comes->($idle, $at * UNIT, \%wait) ? 0 : $not + 1;
	}
	cmp_ok($n, '<', MUCH / UNIT, 'what comes past volmgr for a client that does not read is bounded');
	my $bad;
	while (keys %wait && !$bad) {
		my ($handle, $error, $data) = eval { $idle->answer(\%wait) };
		$bad = $@ || 'the connection broke' if !defined $handle;
		my ($at, $len) = defined $handle ? @{ delete $wait{$handle} } : ();
		$bad = "wrong bytes at $at" if !$bad && ($error || $data ne wanted($at, $len));
	}
	is($bad, undef, 'then it reads: all right');
}
# CPU time of volmgr, in ticks of 10 ms.
sub ticks
{
	my @f = split(/ /, slurp('/proc/' . $cluster->pid('volmgr') . '/stat') =~ s/.*\) //sr);
	return $f[11] + $f[12];
}
{
	my @idle = map { client() } 1 .. 8;
	my %wait;
	for my $idle (@idle) { # the first is read past volmgr and waits, so the second, which volmgr reads, waits for it
		setsockopt($idle->{io}, SOL_SOCKET, SO_RCVBUF, pack('i', UNIT));
		for my $len (2 << 20, 8 << 20) {
			$idle->put($idle->request(Weft::NBD::CMD_READ, 0, $len));
			$wait{ $idle->{io} }{ $idle->{handle} } = [ 0, $len ];
		}
	}
	ok(wait_until('volmgr to sleep', 60, sub { # when all are full
		my $ticks = ticks();
		sleep(1);
		return ticks() - $ticks < 8;
	}), 'while clients with little room do not read, volmgr sleeps');
	my $bad;
	for my $idle (@idle) {
		for (1 .. 2) {
			my ($handle, $error, $data) = eval { $idle->answer($wait{ $idle->{io} }) };
			$bad = 'the connection broke' if !defined $handle;
			last if $bad;
			my ($at, $len) = @{ delete $wait{ $idle->{io} }{$handle} };
			$bad = "wrong bytes: $len" if $error || $data ne wanted($at, $len);
		}
	}
	is($bad, undef, 'then they read: all right');
}
for (1 .. 5) {
	my $gone = client();
	$gone->put($gone->request(Weft::NBD::CMD_READ, $_ * UNIT, 1 << 20)) for 1 .. 20;
	close($gone->{io});
}
is(read_some($c, 100, \&nothing, @sizes), undef, 'clients go in the middle: others go on');

# ---- where it is not --------------------------------------------------------

$cluster->stop('volmgr');
Weft::Room::set(SMALL) or die "net.core.rmem_max cannot be changed\n";
eval { $cluster->start('volmgr') };
my $error = $@;
Weft::Room::enough();
die $error if $error;
ok(wait_until('server-3 to be routed again', 90, sub { counts()->{'server-3'}{route} eq 'open' }), 'volmgr starts where sockets have little room');
is(counts()->{$_}{route}, 'remote', "$_ is read through volmgr") for @remote;
like($cluster->volctl('status'), qr/; 2 remote, whose reads are not: net\.core\.rmem_max is too small$/m, 'volctl status says why');
$c = client();
is(read_some($c, 200, \&nothing, @sizes), undef, 'reads of all sizes: all right');
is(steered($_), 0, "none came past volmgr from $_") for @remote;
done_testing();
