#!/usr/bin/perl
# A build with the thread sanitizer: the unit tests of parts where threads meet, and whole daemons that
# start, serve and stop.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use Test::More;
use Weft;
use Weft::Pool;

need(qw(clang make));
my $dir = build_dir() . '/slow-threads';
my @unit = grep { -e src_dir() . "/$_" =~ s/t\z/c/r } map { "t/unit/$_.t" } qw(uring shm meta kv);
my $got = run({ timeout => 1200, env => { WEFT_TARGETS => "nbdsrv/nbdsrv volmgr/volmgr volctl @unit" } },
	src_dir() . '/t/build', $dir, 'CC=clang', 'CFLAGS=-O2 -g1', '--enable-developer', '--enable-tsan',
	'--without-npm');
is($got->{status}, 0, 'builds without a warning') or diag($got->{err});

my $env = sub {
	my ($to) = @_;
	return { WEFT_BUILD => $dir,
		TSAN_OPTIONS => "log_path=$to:halt_on_error=0:exitcode=66:second_deadlock_stack=1:suppressions=" . src_dir() . '/t/tsan.supp' };
};
SKIP: {
	my $probe = run({ env => { WEFT_BUILD => $dir }, dir => $dir }, './t/unit/kv.t');
	skip('the thread sanitizer does not run on this kernel', 1)
	    if $probe->{err} =~ /FATAL: ThreadSanitizer: unexpected memory mapping/;
	sanitized_ok($env, src_dir() . '/t/restart.t', map { "$dir/$_" } @unit);
}
done_testing();
