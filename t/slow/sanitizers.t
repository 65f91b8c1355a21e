#!/usr/bin/perl
# A build by clang with address and undefined-behaviour sanitizers: it has no warnings, its unit tests
# pass, and so do those tests of whole daemons that foreign clients and faults drive.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use Test::More;
use Weft;

need(qw(clang make));
my $dir = build_dir() . '/slow-clang-sanitizers';
my $t = src_dir() . '/t';
my $got = run({ timeout => 600 }, "$t/build", $dir, 'CC=clang', '--enable-developer',
	'--enable-sanitizers');
is($got->{status}, 0, 'builds without a warning') or diag($got->{err});
$got = run({ timeout => 600, dir => $dir }, 'make', '-j2', 'unit-tests');
is($got->{status}, 0, 'unit tests build without a warning') or diag($got->{err});

my $work = temp_dir();
my %env = (
	WEFT_BUILD => $dir, UBSAN_OPTIONS => "log_path=$work/report:print_stacktrace=1:halt_on_error=1",
	LSAN_OPTIONS => 'print_suppressions=0:suppressions=' . src_dir() . '/t/lsan.supp',
	ASAN_OPTIONS => "log_path=$work/report:abort_on_error=0:"
	    . 'detect_stack_use_after_return=1:strict_string_checks=1',
);
my @unit = split(/\s+/, run_ok({ dir => $dir }, 'make', '-s', 'print-unit-tests'));
my @whole = grep { -e "$t/../$_" } map { "t/$_.t" } qw(nbdsrv-file restart bad-input full-store api extract extract-sandbox extract-media extract-mutate);
for my $test ((map { "$dir/$_" } @unit), (map { src_dir() . "/$_" } @whole)) {
	(my $name = $test) =~ s{.*/t/}{};
	$got = run({ timeout => 300, env => \%env }, $test);
	my $said = join('', map { slurp($_) } glob("$work/report*"));
	unlink(glob("$work/report*"));
	ok($got->{status} == 0 && $said eq '', "$name passes, and no process says anything")
	    or diag(substr($said, 0, 6000), grep { /^not ok|^#/ }
		map { "$_\n" } split(/\n/, "$got->{out}\n$got->{err}"));
}
done_testing();
