#!/usr/bin/perl
# The simulator catches deliberate faults in the engines within few seeds: those of t/sim/mutants that take no
# longer. t/sim/mutate tries them all; t/sim/FAULTS has the table.
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
my @mutants = qw(LIST);

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
ok(defined $after{$_}, "$_ is caught") for @mutants;
cmp_ok(scalar keys %after, '>=', 15, 'there are enough of them');
done_testing();
