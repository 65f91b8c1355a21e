#!/usr/bin/perl
# Large writes of clients on this machine, which eBPF puts into volmgr's queue instead of sending them by
# TCP: they come in their order between requests that do not, in whatever pieces they are sent, and a client
# that sends more than is answered is held up. WEFT_SEED=N repeats a run's choices.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use List::Util qw(min);
use Test::More;
use Time::HiRes qw(time);
use Weft;
use Weft::Cluster;
use Weft::NBD;

use constant { BLOCK => 4096, UNIT => 65536, MIB => 1 << 20, SIZE => 96 << 20, STILL => 8 << 20 };
use constant HELD_UP => 160 << 20; # NBD_INFLIGHT_BYTES, the queue, and what TCP takes

need(qw(nbdsrv volmgr volctl));
my $seed = $ENV{WEFT_SEED} // time | 0;
srand($seed);
diag("seed $seed");
my $dir = temp_dir();
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '4+2', servers => 6, size => SIZE);
at_end(sub { $cluster->kill });
$cluster->up;
my $ebpf = $cluster->get('/status')->{ebpf};
skip_all("eBPF is off here: $ebpf->{why}") if $ebpf->{state} ne 'on';

sub client
{
	my ($host, $port) = $cluster->host_port;
	return Weft::NBD->connect("tcp:$host:$port", @_)->go('vol', structured => 1, @_);
}

# len bytes that tell where they belong and when they were written.
sub bytes { my ($at, $len, $g) = @_;
	return substr(join('', map { pack('Q> Q>', $_, $g) x (BLOCK / 16) } $at / BLOCK .. ($at + $len - 1) / BLOCK), 0, $len) }

# The answer to the request that was made last: error, bytes.
sub last_answer
{
	my ($c, $at, $len) = @_;
	my (undef, $error, $data) = $c->answer({ $c->{handle} => [ $at, $len ] });
	return ($error // 'the connection broke', $data);
}

sub write_all
{
	my ($c, $at, $data) = @_;
	$c->put($c->request(Weft::NBD::CMD_WRITE, $at, length $data, $data));
	return (last_answer($c, $at, 0))[0] eq '0';
}

sub holds
{
	my ($c, $at, $want) = @_;
	$c->put($c->request(Weft::NBD::CMD_READ, $at, length $want));
	my ($error, $data) = last_answer($c, $at, length $want);
	return $error eq '0' && $data eq $want;
}

sub is_there { my ($c, $name, @what) = @_; return ok(holds($c, @what), $name) }

# What TCP has sent for this client.
sub by_tcp
{
	my ($c) = @_;
	return run('ss', '-tinH', 'sport = :' . $c->{io}->sockport)->{out} =~ /\bbytes_sent:([0-9]+)/ ? $1 : undef;
}

# ---- around TCP -------------------------------------------------------------

{
	my $c = client();
	is(scalar(grep { write_all($c, $_ * MIB, bytes($_ * MIB, MIB, 1)) } 0 .. 7), 8, 'large writes are answered');
	SKIP: {
		my $sent = by_tcp($c) // skip('ss tells nothing', 1);
		cmp_ok($sent, '<', MIB, "TCP sent $sent bytes for 8 MiB: they went around it");
	}
	is_there($c, 'and are read as they were written', $_ * MIB, bytes($_ * MIB, MIB, 1)) for 0, 7;
	# in pieces of the size of a request, each of which looks like one
	my $like = substr($c->request(Weft::NBD::CMD_READ, 0, BLOCK) x (UNIT / 28 + 1), 0, UNIT);
	my $w = $c->request(Weft::NBD::CMD_WRITE, STILL, UNIT);
	$c->put($_) for $w, unpack('(a28)*', $like);
	my ($error) = last_answer($c, STILL, 0);
	is($error, 0, 'a payload of requests, in pieces of their size, is a payload');
	is_there($c, 'and is read as it was written', STILL, $like);
	my $large = $like x 16;
	$c->put($_) for $c->request(Weft::NBD::CMD_WRITE, STILL, MIB), unpack('(a8192)*', $large);
	($error) = last_answer($c, STILL, 0);
	is($error, 0, 'so is one in larger pieces');
	is_there($c, 'and is read as it was written', STILL, $large);
}

# ---- in any order and any pieces ----------------------------------------------

# Requests for areas of 2 MiB that nobody else uses meanwhile, eight at once; what they must hold at last.
sub any_order
{
	my ($c, $requests) = @_;
	my (%wait, %busy, %now, $out);
	my @lens = (512, BLOCK, 3 * BLOCK, 32 << 10, UNIT, 300 << 10, MIB, 2 << 20);
	my ($sent, $got) = (0, 0);
	my $area = sub { STILL + MIB + $_[0] * (2 << 20) };
	while ($got < $requests) {
		while ($sent < $requests && keys %wait < 8) {
			my $n = int(rand(32));
			next if $busy{$n};
			my $at = $area->($n);
			my $len = $lens[rand @lens];
			if (rand() < 0.3) { # one of the first, which may be routed
				$at = int(rand(6 * MIB / BLOCK)) * BLOCK;
				$len = min($len, UNIT - $at % UNIT);
				$len -= $len % 512;
				$out .= $c->request(Weft::NBD::CMD_READ, $at, $len);
				$wait{ $c->{handle} } = [ $at, $len ];
			} else {
				my $data = bytes($at, $len, $sent);
				$now{$at} = $data . substr($now{$at} // '', min($len, length($now{$at} // '')));
				$out .= $c->request(Weft::NBD::CMD_WRITE, $at, $len, $data);
				$wait{ $c->{handle} } = [ $at, 0, $n ];
				$busy{$n} = 1;
			}
			$sent++;
			last if rand() < 0.7; # else one more in the same send
		}
		while (length $out) {
			my $piece = rand() < 0.5 ? length $out : 1 + int(rand(rand() < 0.3 ? 64 : length $out));
			$c->put(substr($out, 0, $piece, ''));
		}
		my ($handle, $error, $data) = eval { $c->answer(\%wait) };
		return ("after $got answers: " . ($@ || 'the connection broke')) if !defined $handle;
		my ($at, $len, $n) = @{ delete $wait{$handle} };
		return "error $error" if $error;
		return "wrong bytes at $at" if $len && $data ne substr(bytes($at - $at % BLOCK, $len + $at % BLOCK, 1), $at % BLOCK);
		delete $busy{$n} if defined $n;
		$got++;
	}
	return ($got, %now);
}

{
	my $c = client();
	my ($got, %now) = any_order($c, 400);
	is($got, 400, 'writes and reads of all sizes, in any pieces, eight at once');
	is(scalar(grep { !holds($c, $_, $now{$_}) } sort { $a <=> $b } keys %now), 0, 'all is as it was written last');
}

# ---- little memory --------------------------------------------------------------

# Runs what is given in a memory cgroup (of the first version, as root) whose sockets together have so many bytes.
sub with_tcp_limit
{
	my ($bytes, $what) = @_;
	my ($root) = slurp('/proc/self/mounts') =~ /^\S+ (\S+) cgroup \S*\bmemory\b/m or return;
	my ($ours) = slurp('/proc/self/cgroup') =~ /^[0-9]+:(?:\S*,)?memory(?:,\S*)?:(.*)$/m or return;
	my $group = "$root/weft-$$";
	my $set = sub { my ($file, $what) = @_; open(my $f, '>', $file) or return; return syswrite($f, "$what\n") && close($f) };
	mkdir($group) or return;
	my $got = $set->("$group/memory.kmem.tcp.limit_in_bytes", $bytes) && $set->("$group/cgroup.procs", $$) ? $what->() : undef;
	$set->("$root$ours/cgroup.procs", $$) or die "$root$ours: $!\n";
	rmdir($group) or die "$group: $!\n";
	return $got;
}

SKIP: {
	my $c = with_tcp_limit(MIB, \&client) // skip('no memory cgroup whose sockets can be limited', 2);
	my ($wrong, $left, %wait) = (0, 160);
	while ($left > 0 || keys %wait) {
		while ($left > 0 && keys %wait < 8) {
			my ($at, $len) = (int(rand(7)) * MIB, $left % 2 ? UNIT : MIB);
			$c->put($c->request(Weft::NBD::CMD_READ, $at, $len));
			$wait{ $c->{handle} } = [ $at, $len ];
			$left--;
		}
		my ($handle, $error, $data) = eval { $c->answer(\%wait) };
		$wrong = $@ || 'the connection broke', last if !defined $handle;
		my ($at, $len) = @{ delete $wait{$handle} };
		$wrong++ if $error || $data ne bytes($at, $len, 1);
	}
	is($wrong, 0, 'a client whose sockets may use little memory reads what was written');
	my ($got) = $wrong ? 'not tried' : any_order($c, 100);
	is($got, 100, 'and writes');
}

# ---- more than is answered ------------------------------------------------------

{
	my $c = client();
	my @frozen = map { $cluster->pid("server-$_") } 1 .. 3;
	kill('STOP', @frozen);
	my ($sent, $bytes, $stuck, $rest, $end) = (0, 0, 0, '', time + 30);
	while (time < $end && $stuck < 20 && $bytes < HELD_UP) {
		$rest = $c->request(Weft::NBD::CMD_WRITE, STILL + $sent % 32 * MIB, MIB, bytes(STILL + $sent % 32 * MIB, MIB, 7)) if $rest eq '';
		my $n = $c->put_some($rest);
		$bytes += $n;
		$stuck = $n ? 0 : $stuck + 1;
		substr($rest, 0, $n, '');
		$sent++ if $rest eq '';
		select(undef, undef, undef, 0.02) if !$n;
	}
	kill('CONT', @frozen);
	cmp_ok($bytes, '<', HELD_UP, "three servers do not answer: the client is held up after $bytes bytes");
	$c->put($rest) if $rest ne '' && ++$sent;
	my %wait = map { $_ => [ 0, 0 ] } 1 .. $sent;
	my $good = grep { my (undef, $error) = $c->answer(\%wait); defined $error && $error == 0 } 1 .. $sent;
	is($good, $sent, "they answer again: so are the $sent writes");
	is_there($c, 'with what they wrote', STILL + $_ * MIB, bytes(STILL + $_ * MIB, MIB, 7)) for 0, min($sent, 32) - 1;
}

# ---- the end ----------------------------------------------------------------

{
	my $c = client();
	$c->put(substr($c->request(Weft::NBD::CMD_WRITE, 0, MIB, bytes(0, MIB, 9)), 0, 700_000));
	close($c->{io});
	is_there(client(), 'a client that goes in the middle of a write leaves the blocks as they were', 0, bytes(0, MIB, 1));
}

done_testing();
