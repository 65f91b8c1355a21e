#!/usr/bin/perl
# Thousands of simulated clusters that lose power, connections, processes and servers: see
# t/sim/FAULTS. A seed that fails is printed with the last that happened in it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use Test::More;
use Weft;

use constant SEEDS => 2500;

my $run = build_dir() . '/t/sim/run';
plan(skip_all => 't/sim/run is not built') if !-x $run;
chomp(my $cpus = `nproc`);

my $all = run({ timeout => 1200 }, $run, '--seeds', SEEDS, '--from', 100_000, '--jobs', $cpus);
is($all->{status}, 0, SEEDS . ' seeds pass') or diag($all->{err}, $all->{out});
note($all->{out});
like($all->{out}, qr/^\d+ seeds passed, 0 failed/m, 'it says so');
done_testing();
