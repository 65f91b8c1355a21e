#!/usr/bin/perl
# A real cluster under load while its processes are killed, frozen and started again at random; see
# t/torture, which runs as long as one likes. WEFT_SEED=N repeats its choices, WEFT_SECONDS=N its time.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use Test::More;
use Weft;

need(qw(nbdsrv volmgr volctl));
my $seconds = $ENV{WEFT_SECONDS} // 120;
my @seed = defined $ENV{WEFT_SEED} ? ('--seed', $ENV{WEFT_SEED}) : ();
my $got = run({ timeout => $seconds + 400 }, "$FindBin::RealBin/../torture", '--seconds', $seconds, '--verbose',
	@seed);
is($got->{status}, 0, "$seconds seconds of kills, and everything is right");
diag($got->{out}, $got->{err}) if $got->{status};
like($got->{out}, qr/^right$/m, 'it says so');
note($got->{out});
done_testing();
