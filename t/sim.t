#!/usr/bin/perl
# The simulator does the same for the same seed, in any number of processes; seeds pass. t/slow/sim.t
# runs more of them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;

my $run = build_dir() . '/t/sim/run';
plan(skip_all => 't/sim/run is not built') if !-x $run;

my $once = run({ timeout => 120 }, $run, '--seeds', 60, '--jobs', 2);
is($once->{status}, 0, 'sixty seeds pass') or diag($once->{out}, $once->{err});
my ($hash) = $once->{out} =~ /^hash (\w{16})$/m;
ok(defined $hash, 'a hash of all that happened is printed');
my $twice = run({ timeout => 120 }, $run, '--seeds', 60);
like($twice->{out}, qr/^hash \Q$hash\E$/m, 'the same seeds do the same again');
my $other = run({ timeout => 120 }, $run, '--seeds', 60, '--from', 2);
unlike($other->{out}, qr/^hash \Q$hash\E$/m, 'other seeds do not');

# each was a fault of weft once; a change of the simulator may turn them into other stories
for my $seed (102_235, 209_398, 220_150, 1_006_686, 2_001_009, 3_004_373, 10_008_758, 10_046_129, 10_052_702, 40_013_255, 40_083_322, 60_030_369, 60_052_740, 60_055_324, 80_002_219) {
	my $got = run({ timeout => 60 }, $run, '--seed', $seed);
	is($got->{status}, 0, "seed $seed passes") or diag($got->{out}, $got->{err});
}

my $bad = run({ timeout => 30 }, $run, '--seeds', 'many');
is($bad->{status}, 2, 'a number is asked for');
done_testing();
