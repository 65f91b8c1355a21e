#!/usr/bin/perl
# A real cluster under load while its processes are killed, frozen and started again at random, on this machine
# and then on several hosts whose links are cut; see t/torture, which runs as long as one likes. WEFT_SEED=N
# repeats its choices, WEFT_SECONDS=N its time, a sixth of it for the hosts.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use Test::More;
use Weft;
use Weft::Hosts;

need(qw(nbdsrv volmgr volctl));
my $seconds = $ENV{WEFT_SECONDS} // 120;
my @seed = defined $ENV{WEFT_SEED} ? ('--seed', $ENV{WEFT_SEED}) : ();

sub torture
{
	my ($time, $name, @args) = @_;
	my $got = run({ timeout => $time + 400 }, "$FindBin::RealBin/../torture", '--seconds', int($time), '--verbose',
		@seed, @args);
	is($got->{status}, 0, "$name: right after " . int($time) . ' seconds of kills');
	diag($got->{out}, $got->{err}) if $got->{status};
	like($got->{out}, qr/^right$/m, 'it says so');
	note($got->{out});
	return;
}

torture($seconds * 5 / 6, 'one machine');
SKIP: {
	my $missing = Weft::Hosts::missing();
	skip($missing, 2) if $missing;
	torture($seconds / 6, 'three hosts', '--hosts', 3);
}
done_testing();
