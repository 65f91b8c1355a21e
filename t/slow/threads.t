#!/usr/bin/perl
# A build with the thread sanitizer: the unit tests of parts where threads meet, and whole daemons that
# start, serve and stop.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use Test::More;
use Weft;

need(qw(clang make));
my $dir = build_dir() . '/slow-threads';
my $got = run({ timeout => 600 }, src_dir() . '/t/build', $dir, 'CC=clang', '--enable-developer',
	'--enable-tsan');
is($got->{status}, 0, 'builds without a warning') or diag($got->{err});
my @unit = grep { -e src_dir() . "/$_" =~ s/t\z/c/r } map { "t/unit/$_.t" } qw(uring meta kv);
$got = run({ timeout => 600, dir => $dir }, 'make', '-j2', @unit);
is($got->{status}, 0, 'unit tests build without a warning') or diag($got->{err});

my $work = temp_dir();
my %env = (WEFT_BUILD => $dir, 
	TSAN_OPTIONS => "log_path=$work/report:"
	    . 'halt_on_error=0:exitcode=66:second_deadlock_stack=1');
SKIP: {
	my $probe = run({ env => \%env, dir => $dir }, './t/unit/kv.t');
	skip('the thread sanitizer does not run on this kernel', 1)
	    if $probe->{err} =~ /FATAL: ThreadSanitizer: unexpected memory mapping/;
	my @whole = grep { -e src_dir() . "/$_" } qw(t/restart.t);
	for my $test ((map { "$dir/$_" } @unit), (map { src_dir() . "/$_" } @whole)) {
		(my $name = $test) =~ s{.*/t/}{};
		$got = run({ timeout => 300, env => \%env }, $test);
		my $said = join('', map { slurp($_) } glob("$work/report*"));
		unlink(glob("$work/report*"));
		ok($got->{status} == 0 && $said eq '', "$name passes, and no process says anything")
		    or diag(substr($said, 0, 6000), grep { /^not ok|^#/ } map { "$_\n" }
			split(/\n/, "$got->{out}\n$got->{err}"));
	}
}
done_testing();
