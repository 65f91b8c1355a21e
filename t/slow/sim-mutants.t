#!/usr/bin/perl
# The simulator catches at least fifteen deliberate faults in the engines within few seeds: of those of
# t/sim/mutants that mostly take no longer. t/sim/mutate tries them all.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use Test::More;
use Weft;

use constant {
	SEEDS => 400, # the first that fails ends it: mostly one of the first fifty
	SIDES => 2,   # compilers at once
};
my @mutants = qw(
    store-abort-forgotten store-commit-short store-fence-in-memory store-flush-at-once
    store-read-unverified store-wrong-checksum store-refusal-ignored store-log-short
    store-torn-record store-epoch-ignored stripe-mark-in-memory stripe-carry-untouched stripe-carry-unsettled
    stripe-decode-unlocked stripe-flush-skips stripe-fua-forgotten stripe-judge-any
    stripe-lost-connection stripe-no-parity stripe-no-stale-mark stripe-stale-read
    stripe-start-early stripe-commit-first);

need('git');
plan(skip_all => 't/sim/run is not built') if !-x build_dir() . '/t/sim/run';
my $mutate = src_dir() . '/t/sim/mutate';

my @sides;
for my $n (0 .. SIDES - 1) {
	my @part = @mutants[grep { $_ % SIDES == $n } 0 .. $#mutants];
	my $pid = open(my $out, '-|', 'timeout', 900, $mutate, '--seeds', SEEDS, @part) // die "mutate: $!";
	push @sides, $out;
}
my %after;
for my $out (@sides) {
	while (my $line = <$out>) {
		$after{$1} = $2 if $line =~ /^([a-z]+-[a-z-]+) +(\d+) /;
		note($line =~ s/\n//r);
	}
	close $out;
}
note("$_ survives") for grep { !defined $after{$_} } @mutants;
cmp_ok(scalar keys %after, ">=", 15, "of " . @mutants . " faults most are caught within " . SEEDS . " seeds");
done_testing();
