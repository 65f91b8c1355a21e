#!/usr/bin/perl
# Random requests against a mirror in memory, on many profiles, while servers and volmgr stop, start
# and are killed: what a client was promised holds. WEFT_SEED=N repeats a run's requests,
# WEFT_SECONDS=N makes each part last longer.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;
use Weft::Cluster;

need(qw(nbdsrv volmgr volctl));
my $hammer = build_dir() . '/t/tools/hammer';
skip_all('t/tools/hammer is not built') if !-x $hammer;
my $seed = $ENV{WEFT_SEED} // time;
my $seconds = $ENV{WEFT_SECONDS} // 1;
my $dir = temp_dir();
diag("seed $seed") if $ENV{WEFT_SEED};

my $clusters = 0;
sub cluster
{
	my (%opt) = @_;
	my $bpf = $clusters++ % 2 ? 'auto' : 'off'; # where it works, reads go past volmgr in half of them
	my $cluster = Weft::Cluster->new(dir => "$dir/$clusters", size => '64M', args => { volmgr => [ '--bpf', $bpf ] }, %opt);
	at_end(sub { $cluster->kill });
	return $cluster->up;
}

# Starts hammer; what it says goes to a file.
sub hammer_start
{
	my ($uri, @args) = @_;
	my $out = "$dir/hammer-" . $seed;
	my $pid = fork() // die "fork: $!\n";
	if (!$pid) {
		open(STDOUT, '>', $out) or POSIX::_exit(126);
		open(STDERR, '>&', \*STDOUT) or POSIX::_exit(126);
		Weft::die_with_parent();
		{ no warnings 'exec'; exec($hammer, '--seed', $seed, '--stall', 90, @args, $uri); }
		POSIX::_exit(127);
	}
	++$seed;
	my $h = { pid => $pid, out => $out };
	at_end(sub { kill('KILL', $h->{pid}) if !$h->{ended} });
	wait_until('hammer to begin', 120, sub { !pid_alive($pid) || -e $out && slurp($out) =~ /^begun$/m });
	return $h;
}

sub hammer_end
{
	my ($h, $name) = @_;
	my $end = time + 200;
	my $got;
	while (!($got = waitpid($h->{pid}, POSIX::WNOHANG())) && time < $end) {
		select(undef, undef, undef, 0.05);
	}
	my $status = $got ? $? : -1;
	if (!$got) {
		kill('KILL', $h->{pid});
		waitpid($h->{pid}, 0);
	}
	$h->{ended} = 1;
	is($status, 0, $name) or diag(slurp($h->{out}));
	return slurp($h->{out});
}

sub hammer { my ($name, @args) = @_; return hammer_end(hammer_start(@args), $name) }

for my $profile ([ '4+2', '64K' ], [ '2+1', '4K' ], [ '1+2', '16K' ], [ '3+0', '64K' ], [ '4+2', '256K' ]) {
	my ($ec, $unit) = @$profile;
	my $cluster = cluster(ec => $ec, unit => $unit);
	hammer("$ec in units of $unit: every byte is right", $cluster->uri, '--seconds', $seconds);
	my $stat = wait_until('figures', 60, sub {
		my $now = $cluster->get('/volumes/vol')->{stat};
		return $now->{reads} && !$now->{inflight} ? $now : undef;
	});
	# on a machine that is too busy a server may seem to be away for a moment
	my @away = grep { $_->{what} eq 'server.down' } @{ $cluster->get('/events?limit=200')->{events} };
	ok(@away || $stat->{degraded_reads} == 0, 'and healthy shards are read themselves')
	    or diag("$stat->{degraded_reads} were not");
	$cluster->kill;
}

# hammer runs while these things happen, one after the other, each a moment after the one before.
sub meanwhile
{
	my ($cluster, $name, $args, @events) = @_;
	my $h = hammer_start($cluster->uri, '--seconds', 90, '--region', 24 << 20, @$args);
	my $done = eval {
		for my $event (@events) {
			select(undef, undef, undef, 0.3);
			$event->();
		}
		1;
	} or diag($@);
	select(undef, undef, undef, 0.3);
	kill('TERM', $h->{pid});
	ok($done, "$name: done");
	my $said = hammer_end($h, "$name: every byte is right");
	like($said, qr/^reads [1-9][0-9]* writes [1-9]/m, 'and there were requests');
	return;
}

my $cluster = cluster(ec => '4+2');
my @servers = $cluster->server_names;

# Stops (or kills) these, all at once, and starts them again.
sub again
{
	my ($how, @names) = @_;
	return sub { $cluster->$how(@names); $cluster->start(@names) };
}

sub frozen
{
	my ($name) = @_;
	return sub {
		my $pid = $cluster->pid($name);
		kill('STOP', $pid);
		select(undef, undef, undef, 1);
		kill('CONT', $pid);
	};
}

meanwhile($cluster, 'servers stop and start one after the other', [],
	map { again('stop', $_) } @servers);
meanwhile($cluster, 'volmgr, or everything, stops and starts', ['--restarts'],
	again('stop', 'volmgr'), again('stop'), again('stop', @servers), again('stop', 'volmgr'));
meanwhile($cluster, 'volmgr is killed', ['--restarts'], (again('kill', 'volmgr')) x 4);
meanwhile($cluster, 'everything is killed at once', ['--lossy'], (again('kill')) x 3);
meanwhile($cluster, 'a server does not move for a second', [], frozen('server-2'),
	frozen('server-5'));
meanwhile($cluster, 'a server is killed', [], again('kill', 'server-3'));
$cluster->kill;

$cluster = cluster(ec => '1+2', unit => '4K');
@servers = $cluster->server_names;
meanwhile($cluster, 'small units, servers and volmgr', ['--restarts'],
	(map { again('stop', $_) } @servers), again('kill', 'volmgr'), again('stop'));
$cluster->kill;

$cluster = cluster(ec => '2+1', size => '256M', store_size => '64M');
my $said = hammer('full stores: refused writes leave blocks as they were or as written', $cluster->uri,
	'--seconds', 2 * $seconds, '--region', 200 << 20, '--enospc');
like($said, qr{full [1-9]}, 'and there were such');
$cluster->kill;
done_testing();
