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
my $seconds = $ENV{WEFT_SECONDS} // 2;
my $dir = temp_dir();
diag("seed $seed") if $ENV{WEFT_SEED};

my $clusters = 0;
sub cluster
{
	my (%opt) = @_;
	my $cluster = Weft::Cluster->new(dir => "$dir/" . ++$clusters, size => '64M', %opt);
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
		{ no warnings 'exec'; exec($hammer, '--seed', $seed, '--stall', 30, @args, $uri); }
		POSIX::_exit(127);
	}
	++$seed;
	return { pid => $pid, out => $out };
}

sub hammer_end
{
	my ($h, $name) = @_;
	my $end = time + 100;
	my $got;
	while (!($got = waitpid($h->{pid}, POSIX::WNOHANG())) && time < $end) {
		select(undef, undef, undef, 0.05);
	}
	my $status = $got ? $? : -1;
	if (!$got) {
		kill('KILL', $h->{pid});
		waitpid($h->{pid}, 0);
	}
	is($status, 0, $name) or diag(slurp($h->{out}));
	return slurp($h->{out});
}

sub hammer { my ($name, @args) = @_; return hammer_end(hammer_start(@args), $name) }

for my $profile ([ '4+2', '64K' ], [ '2+1', '4K' ], [ '1+2', '16K' ], [ '3+0', '64K' ], [ '4+2', '256K' ]) {
	my ($ec, $unit) = @$profile;
	my $cluster = cluster(ec => $ec, unit => $unit);
	hammer("$ec in units of $unit: every byte is right", $cluster->uri, '--seconds', $seconds);
	my $stat = wait_until('figures', 10, sub {
		my $now = $cluster->get('/volumes/vol')->{stat};
		return $now->{reads} && !$now->{inflight} ? $now : undef;
	});
	is($stat->{degraded_reads}, 0, 'and healthy shards are read themselves');
	$cluster->kill;
}
done_testing();
