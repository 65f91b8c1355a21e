#!/usr/bin/perl
# Reads that eBPF brings past volmgr, and what can go wrong with them: requests in pieces and in bunches,
# answers of two senders on one connection, a client that does not read, damaged blocks, servers that are
# killed or hang with reads on their way, restarts. WEFT_SEED=N repeats a run's choices.
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

use constant { BLOCK => 4096, UNIT => 65536, SIZE => 64 << 20, REGION => 16 << 20, SEEK_DATA => 3,
	ROOM => 256 << 20 }; # bpf/route.h

need(qw(nbdsrv volmgr volctl));
my $seed = $ENV{WEFT_SEED} // time | 0;
srand($seed);
diag("seed $seed");
my $dir = temp_dir();
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '4+2', servers => 7, size => SIZE);
at_end(sub { $cluster->kill });
$cluster->up;
my $ebpf = $cluster->get('/status')->{ebpf};
skip_all("eBPF is off here: $ebpf->{why}") if $ebpf->{state} ne 'on';

sub routed { return $cluster->get('/volumes/vol')->{routed}{reads} }
sub client
{
	my ($volume, %opt) = @_;
	my ($host, $port) = $cluster->host_port;
	return Weft::NBD->connect("tcp:$host:$port", room => ROOM, %opt)->go($volume // 'vol', %opt);
}

# What block number n holds in generation g.
sub block { my ($n, $g) = @_; return pack('Q> Q>', $n, $g) x (BLOCK / 16) }
sub blocks { my ($at, $len) = @_; return join('', map { block($_, 1) } $at / BLOCK .. ($at + $len) / BLOCK - 1) }
sub wanted { my ($at, $len) = @_; my $from = $at - $at % BLOCK; my $to = $at + $len + (-($at + $len)) % BLOCK;
	return substr(blocks($from, $to - $from), $at - $from, $len) }

sub reply_is
{
	my ($c, $name, $at, $len) = @_;
	my ($error, $data) = $c->reply($len);
	return ok(defined $error && $error == 0 && $data eq wanted($at, $len), $name);
}

# Servers open for routed reads soon after they are up.
sub wait_routed
{
	my ($what) = @_;
	my $c = client();
	return wait_until($what, 90, sub {
		my $before = routed();
		for my $unit (0 .. 7) {
			$c->put($c->request(Weft::NBD::CMD_READ, $unit * UNIT, BLOCK));
			my ($error, $data) = $c->reply(BLOCK);
			die "a wrong answer\n" if $error || $data ne wanted($unit * UNIT, BLOCK);
		}
		return routed() >= $before + 7; # the first of a client need not be
	});
}

my $c = client();
for (my $at = 0; $at < REGION; $at += 1 << 20) {
	$c->put($c->request(Weft::NBD::CMD_WRITE, $at, 1 << 20, blocks($at, 1 << 20)));
	my ($error) = $c->reply(0);
	die "write: $error\n" if $error;
}
ok(wait_routed('reads that are routed'), 'reads of whole blocks are routed');

# ---- how requests come ------------------------------------------------------

{
	my $c = client();
	for my $case ([ 0, BLOCK ], [ 3 * BLOCK, 4 * BLOCK ], [ UNIT, UNIT ], [ 5 * UNIT - BLOCK, 2 * BLOCK ],
		[ 7, 100 ], [ UNIT - 512, 512 ], [ UNIT - 512, 1024 ], [ 0, 1 << 20 ]) {
		$c->put($c->request(Weft::NBD::CMD_READ, @$case));
		reply_is($c, "a read of $case->[1] at $case->[0]", @$case);
	}
	my $r = $c->request(Weft::NBD::CMD_READ, 2 * UNIT, BLOCK);
	$c->put(substr($r, 0, 11));
	$c->put(substr($r, 11, 1));
	$c->put(substr($r, 12));
	reply_is($c, 'one in three pieces', 2 * UNIT, BLOCK);
	$c->put(join('', map { $c->request(Weft::NBD::CMD_READ, $_ * UNIT, BLOCK) } 1 .. 40));
	my $good = grep { my ($e, $d) = $c->reply(BLOCK); defined $e && !$e } 1 .. 40;
	is($good, 40, 'forty in one send');
	my $before = routed();
	ok(wait_until('a read that is routed', 60, sub { # a server that was late a moment ago is not asked
		for (1 .. 8) {
			$c->put($c->request(Weft::NBD::CMD_READ, 3 * UNIT, BLOCK));
			reply_is($c, 'and one by itself again', 3 * UNIT, BLOCK) or die "a wrong answer\n";
		}
		return routed() > $before;
	}), 'is routed again');

	# a payload that looks like requests
	my $like = ($c->request(Weft::NBD::CMD_READ, 0, BLOCK) x 200);
	$like = substr($like . "\0" x BLOCK, 0, BLOCK);
	my $w = $c->request(Weft::NBD::CMD_WRITE, SIZE - BLOCK, BLOCK);
	for my $piece ($w, unpack('(a28)*', $like)) {
		$c->put($piece);
	}
	my ($error) = $c->reply(0);
	is($error, 0, 'a payload of requests, in pieces of their size, is a payload');
	$c->put($c->request(Weft::NBD::CMD_READ, SIZE - BLOCK, BLOCK));
	($error, my $data) = $c->reply(BLOCK);
	ok($error == 0 && $data eq $like, 'and is read as it was written');

	$c->put("no request at all" x 10);
	ok($c->closed_within(60), 'nonsense ends the connection');
	reply_is_alone('others go on');
}

# ---- a client that sends and receives at once, and waits in both, as the kernel's ----------

# True: all writes were answered, and no receive ended for anything but data.
sub sends_and_receives
{
	my ($c, $writes) = @_;
	my $io = $c->{io};
	$io->blocking(1);
	my $reader = fork() // die "fork: $!\n";
	if (!$reader) {
		Weft::die_with_parent();
		alarm(60);
		for (my $left = 16 * $writes; $left > 0;) {
			my $n = sysread($io, my $buf, $left);
			$n or POSIX::_exit(defined $n ? 2 : $!{EAGAIN} ? 3 : 4);
			$left -= $n;
		}
		POSIX::_exit(0);
	}
	my $payload = "\0" x (1 << 20);
	my $all = join('', map { $c->request(Weft::NBD::CMD_WRITE, REGION + (($_ % 32) << 20), 1 << 20, $payload) } 1 .. $writes);
	while (length $all) {
		my $n = syswrite($io, $all) // last;
		substr($all, 0, $n, '');
	}
	waitpid($reader, 0);
	is($? >> 8, 0, 'no receive fails while sends wait for room');
	return;
}

{
	my $c = client('vol', room => 0);
	my $before = routed();
	for (1 .. 20) {
		$c->put($c->request(Weft::NBD::CMD_READ, 3 * UNIT, BLOCK));
		reply_is($c, 'a client of simple replies that has a usual socket reads', 3 * UNIT, BLOCK) or last;
	}
	is(routed(), $before, 'and is not routed');
	sends_and_receives($c, 64);
	$c = client();
	sends_and_receives($c, 64);
}

sub reply_is_alone
{
	my ($name) = @_;
	my $c = client();
	$c->put($c->request(Weft::NBD::CMD_READ, UNIT, BLOCK));
	return reply_is($c, $name, UNIT, BLOCK);
}

# ---- many at once -----------------------------------------------------------

# Sends requests so that depth of them wait, and compares what comes, until told to stop. Answers come in
# any order. each(n) is called before request n.
sub stream_reads
{
	my ($c, %opt) = @_;
	my %wait;
	my ($sent, $got, $end) = (0, 0, time + ($opt{seconds} // 60));
	while (1) {
		my $more = time < $end && !($opt{until} && $opt{until}->());
		while ($more && keys %wait < $opt{depth}) {
			$opt{each}->($sent) if $opt{each};
			my $len = $opt{lens}[rand @{ $opt{lens} }];
			my $at = int(rand((REGION - $len) / BLOCK)) * BLOCK;
			$at -= $at % UNIT + $len - UNIT if $len <= UNIT && $at % UNIT + $len > UNIT && $at % UNIT;
			$at = 0 if $at < 0;
			$at -= $at % BLOCK;
			$c->put($c->request(Weft::NBD::CMD_READ, $at, $len));
			$wait{ $c->{handle} } = [ $at, $len ];
			$sent++;
		}
		last if !%wait;
		my ($handle, $error, $data) = eval { $c->answer(\%wait) };
		return "after $got answers: " . ($@ || 'the connection broke') if !defined $handle;
		my $r = delete $wait{$handle};
		return "error $error" if $error;
		return "wrong bytes: $r->[1] at $r->[0]" if $data ne wanted(@$r);
		$got++;
	}
	return $got;
}

# True so many seconds from now at the earliest, and when that is so: it may take longer on a busy machine.
sub since
{
	my ($seconds, $fn) = @_;
	my $end = time + $seconds;
	return sub { return time >= $end && $fn->() };
}

{
	my $before = routed();
	my $got = stream_reads(client(), until => since(1, sub { routed() > $before }), depth => 32, lens => [ BLOCK, 16384, UNIT ]);
	like($got, qr/\A[0-9]+\z/, "$got reads, 32 at once: all right");
	cmp_ok(routed(), '>', $before, 'and some of them were routed');
	$before = routed();
	$got = stream_reads(client(), until => since(2, sub { routed() > $before }), depth => 24, lens => [ (BLOCK) x 20, UNIT, 1 << 20, 300 << 10 ]);
	like($got, qr/\A[0-9]+\z/, "$got reads, large ones among them: none is mixed with another");
	cmp_ok(routed(), '>', $before, 'some were routed');

	# their bytes come from the servers, each part by itself, and the end of the answer from volmgr
	my $steered = sub { $cluster->get('/volumes/vol')->{routed}{steered} };
	$before = $steered->();
	$got = stream_reads(client('vol', structured => 1), until => since(2, sub { $steered->() > $before }), depth => 12,
		lens => [ (BLOCK) x 4, UNIT, 1 << 20, 300 << 10, 2 << 20 ]);
	like($got, qr/\A[0-9]+\z/, "$got reads with structured replies, large ones among them: each byte comes once");
	cmp_ok($steered->(), '>', $before, 'and the large ones went past volmgr');
}

# ---- reads and writes of the same blocks ------------------------------------

{
	my $race = build_dir() . '/t/tools/race';
	my $seconds = $ENV{WEFT_SECONDS} // 3;
	my $before = routed();
	# over the last part of the volume's blocks; servers go and come meanwhile
	my $pid = fork() // die "fork: $!\n";
	if (!$pid) {
		Weft::die_with_parent();
		open(STDOUT, '>', "$dir/race") or POSIX::_exit(126);
		{ no warnings 'exec'; exec($race, $cluster->uri, $seconds, 48, BLOCK * 9, REGION); }
		POSIX::_exit(127);
	}
	select(undef, undef, undef, 1);
	for my $how (qw(kill stop)) {
		$cluster->$how('server-3');
		$cluster->start('server-3');
	}
	waitpid($pid, 0);
	is($?, 0, 'reads that race with writes are never older than what was acknowledged')
	    or diag(slurp("$dir/race"));
	cmp_ok(routed(), '>', $before, 'and were routed');
}

# ---- a client that does not read --------------------------------------------

{
	my $c = client();
	my ($host, $port) = $cluster->host_port;
	my $own = $c->{io}->sockport;
	my $sent = 0;
	my $stuck = 0;
	my $request = sub { $c->request(Weft::NBD::CMD_READ, ($sent % 64) * UNIT, UNIT) };
	my ($end, $rest) = (time + 10, '');
	while (time < $end && $stuck < 20 && $sent < 20_000) {
		$rest = $request->() if $rest eq '';
		my $n = $c->put_some($rest);
		$stuck = $n ? 0 : $stuck + 1;
		substr($rest, 0, $n, '');
		$sent++ if $rest eq '';
		select(undef, undef, undef, 0.02) if !$n;
	}
	my ($skmem) = run('ss', '-tmnH', "sport = :$own")->{out} =~ /skmem:\(r([0-9]+),/;
	SKIP: {
		skip('ss tells nothing', 1) if !defined $skmem;
		cmp_ok($skmem, '<', 32 << 20, "$sent requests, nothing read: $skmem bytes wait, no more");
	}
	reply_is_alone('others are served');
	my $good = 0;
	for (1 .. min($sent, 600)) {
		my ($error, $data) = $c->reply(UNIT);
		last if !defined $error || $error || length $data != UNIT;
		last if $data ne wanted(unpack('Q>', $data) * BLOCK, UNIT); # they come in any order
		$good++;
	}
	is($good, min($sent, 600), 'when it reads, all is there');
}

# ---- servers ----------------------------------------------------------------

{
	for my $structured (0, 1) {
		my ($kills, $next) = (0, 300);
		my $c = client('vol', structured => $structured);
		$c->{twice} = 1; # what a killed server may have sent is sent again (route_steer_gone())
		my $got = stream_reads($c, until => sub { $kills == 4 }, depth => 64,
			lens => [ BLOCK, BLOCK, UNIT, 300 << 10 ],
			each => sub {
				my ($n) = @_;
				return if $n < $next || $kills == 4;
				my $name = 'server-' . (1 + $kills++ % 2);
				$cluster->kill($name);
				$cluster->start($name);
				$next = $n + 400;
			});
		like($got, qr/\A[0-9]+\z/, "$got reads while servers are killed, structured replies $structured: all right");
	}
	ok(wait_routed('all servers again'), 'their reads are routed again when they are back');
	my $got;

	my $pid = $cluster->pid('server-4');
	my $stopped;
	$got = stream_reads(client(), seconds => 4, depth => 32, lens => [BLOCK], each => sub {
		my ($n) = @_;
		if ($n > 1000 && !defined $stopped) {
			kill('STOP', $pid);
			$stopped = time;
			# it goes on when all reads wait for it
			my $helper = fork() // die "fork: $!\n";
			if (!$helper) {
				select(undef, undef, undef, 2.5);
				kill('CONT', $pid);
				POSIX::_exit(0);
			}
		}
	});
	kill('CONT', $pid);
	like($got, qr/\A[0-9]+\z/, "$got reads while a server hangs: all right");
	ok(wait_routed('all servers again'), 'and they are routed again');
}

# ---- shards that move, many clients ------------------------------------------

{
	my $before = routed();
	my $drained = 0;
	my $next = 1000;
	my $got = stream_reads(client(), until => sub { $drained }, depth => 32, lens => [ BLOCK, UNIT ], each => sub {
		my ($n) = @_;
		$cluster->volctl('server', 'drain', 'server-6') if $n == 500;
		return if $n < $next;
		$next = $n + 1000;
		$drained = json_decode($cluster->volctl('--json', 'server', 'show', 'server-6'))->{duty} eq 'drained';
	});
	like($got, qr/\A[0-9]+\z/, "$got reads while a server is emptied: all right");
	cmp_ok(routed(), '>', $before, 'and many were routed');
	ok(wait_routed('all shards where they are now'), 'what has moved is routed again');
	$cluster->volctl('server', 'drain', 'server-6', '--stop');
}

{
	my @names = map { "many-$_" } 1 .. 5;
	$cluster->create_volume($_, size => 4 << 20) for @names;
	my %byte = map { $names[$_] => chr(65 + $_) } 0 .. $#names;
	my @clients = map { my $name = $_; map { { name => $name, io => client($name) } } 1 .. 4 } @names;
	for my $c (@clients[ map { 4 * $_ } 0 .. $#names ]) {
		$c->{io}->put($c->{io}->request(Weft::NBD::CMD_WRITE, 0, 1 << 20, $byte{ $c->{name} } x (1 << 20)));
		my ($error) = $c->{io}->reply(0);
		die "write: $error\n" if $error;
	}
	my $bad = 0;
	my $turn = sub {
		for my $c (@clients) {
			my @ask = map { $c->{io}->request(Weft::NBD::CMD_READ, int(rand(256)) * BLOCK, BLOCK) } 1 .. 4;
			$c->{io}->put($_) for rand() < 0.2 ? join('', @ask) : @ask;
		}
		for my $c (map { ($_) x 4 } @clients) {
			my ($error, $data) = $c->{io}->reply(BLOCK);
			$bad++ if !defined $error || $error || $data ne $byte{ $c->{name} } x BLOCK;
		}
	};
	ok(wait_until('all volumes to be routed', 90, sub {
		$turn->();
		return !grep { !$cluster->get("/volumes/$_")->{routed}{reads} } @names;
	}), 'five volumes, four clients each: all are routed');
	$turn->() for 1 .. 20;
	is($bad, 0, 'and nobody gets the bytes of another');
}

# ---- another volmgr ------------------------------------------------------------

# Its programs see the same cgroup and the same loopback; its volume has the same name.
{
	my $other = Weft::Cluster->new(dir => "$dir/o", ec => '2+1', size => SIZE, args => { volmgr => [qw(--bpf on)] });
	at_end(sub { $other->kill });
	$other->up;
	my ($host, $port) = $other->host_port;
	my $o = Weft::NBD->connect("tcp:$host:$port", room => ROOM)->go('vol');
	$o->put($o->request(Weft::NBD::CMD_WRITE, 0, 1 << 20, 'other' x (BLOCK / 4) . "\0" x ((1 << 20) - 5 * BLOCK / 4)));
	my ($error) = $o->reply(0);
	is($error, 0, 'another volmgr beside this one');
	my $c = client();
	my $wrong = 0;
	my $both = sub {
		for my $unit (0 .. 15) {
			$_->put($_->request(Weft::NBD::CMD_READ, $unit * UNIT, BLOCK)) for $c, $o;
			my ($e, $data) = $c->reply(BLOCK);
			$wrong++ if $e || $data ne wanted($unit * UNIT, BLOCK);
			($e, $data) = $o->reply(BLOCK);
			$wrong++ if $e || $data ne ($unit ? "\0" x BLOCK : substr('other' x BLOCK, 0, BLOCK));
		}
	};
	my $count = sub { $other->get('/volumes/vol')->{routed}{reads} };
	my $before = routed();
	ok(wait_until('both to be routed', 90, sub { $both->(); $count->() > 100 && routed() > $before + 100 }),
		'both route');
	is($wrong, 0, 'and each its own volume');
	$other->kill;
	# a server that is late once, as the machine is busy, is not routed to until it is back
	my $on = wait_until('all reads to be routed', 90, sub {
		$before = routed();
		for my $unit (0 .. 15) {
			$c->put($c->request(Weft::NBD::CMD_READ, $unit * UNIT, BLOCK));
			my ($e, $data) = $c->reply(BLOCK);
			$wrong++ if $e || $data ne wanted($unit * UNIT, BLOCK);
		}
		return routed() >= $before + 16;
	});
	is($wrong, 0, 'when it is killed, the first goes on');
	ok($on, 'with routed reads');
}

# ---- damage -----------------------------------------------------------------

{
	my $n = 5 * (UNIT / BLOCK) + 3; # in unit 5: data shard 1 of stripe 1
	my $mark = block($n, 1);
	$cluster->stop;
	my $hits = 0;
	for my $name ($cluster->server_names) {
		my $path = $cluster->store_file($name);
		open(my $fh, '+<:raw', $path) or die "$path: $!\n";
		my $at = 0;
		while (1) {
			$at = (sysseek($fh, $at, SEEK_DATA) // last) | 0; # most of it are holes
			sysread($fh, my $bytes, 1 << 20) or last;
			my $found = index($bytes, $mark);
			if ($found >= 0) {
				sysseek($fh, $at + $found + 100, 0);
				syswrite($fh, 'damage');
				$hits++;
			}
			$at += length $bytes;
		}
	}
	$cluster->start;
	cmp_ok($hits, '>', 0, 'a block is damaged on its server');
	my $c = client();
	for (1 .. 3) {
		$c->put($c->request(Weft::NBD::CMD_READ, $n * BLOCK, BLOCK));
		reply_is($c, 'it is read from the others', $n * BLOCK, BLOCK);
	}
	ok(wait_routed('routes after a restart of all'), 'everything restarted: reads are routed');
}

# ---- volmgr -----------------------------------------------------------------

{
	my $c = client();
	$c->put(join('', map { $c->request(Weft::NBD::CMD_READ, $_ * UNIT, UNIT) } 1 .. 20));
	$cluster->kill('volmgr');
	ok($c->closed_within(60), 'volmgr is killed: its clients see it');
	$cluster->start('volmgr');
	ok(wait_routed('routes after a restart of volmgr'), 'another one routes again');
	$cluster->stop('volmgr');
	$cluster->start('volmgr');
	ok(wait_routed('routes after an orderly restart of volmgr'), 'and one after it was stopped in order');
}

# ---- space that is given back ----------------------------------------------

{
	my $c = client();
	$c->put($c->request(Weft::NBD::CMD_TRIM, 0, SIZE));
	my ($error) = $c->reply(0);
	is($error, 0, 'everything is trimmed');
	my $zeros = 0;
	for my $unit (0 .. 63) {
		$c->put($c->request(Weft::NBD::CMD_READ, $unit * UNIT, BLOCK));
		my ($e, $data) = $c->reply(BLOCK);
		$zeros++ if !$e && $data eq "\0" x BLOCK;
	}
	is($zeros, 64, 'and reads as zeros');
}
# ---- without the privileges ---------------------------------------------------

SKIP: {
	skip('no setpriv', 2) if !tool('setpriv');
	my $got = run({ timeout => 60 }, tool('setpriv'), '--bounding-set', '-bpf,-sys_admin', program('volmgr'), '--dir',
		"$dir/no-caps", '--secret', $cluster->secret, '--listen', 'tcp:127.0.0.1:0', qw(--http none --bpf on), '--socket', "$dir/no-caps.sock");
	isnt($got->{status}, 0, 'without the privileges it does not start with --bpf on');
	like($got->{err}, qr/--bpf on: .*(?:CAP_BPF|kernel)/, 'and says what is missing');
}
done_testing();
