#!/usr/bin/perl
# The deliberate faults of t/sim/mutants still fit the sources, and the simulator catches one of them. All of
# them, with the seeds it takes: t/sim/mutate.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;

need('git');
my $mutate = src_dir() . '/t/sim/mutate';
my $check = run({ timeout => 60 }, $mutate, '--check');
is($check->{status}, 0, 'all mutants apply') or diag($check->{out}, $check->{err});
my ($n) = $check->{out} =~ /^(\d+) of \d+ mutants apply/m;
cmp_ok($n // 0, '>=', 15, 'there are enough of them');

SKIP: {
	skip('t/sim/run is not built', 1) if !-x build_dir() . '/t/sim/run';
	my $one = run({ timeout => 120 }, $mutate, '--seeds', 400, 'stripe-flush-skips');
	like($one->{out}, qr/^1 of 1 are caught/m, 'a flush that leaves a server out is caught')
	    or diag($one->{out}, $one->{err});
}
done_testing();
