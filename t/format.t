#!/usr/bin/perl
# All C files look as .clang-format says. Another version of clang-format lays out some lines in another
# way, so only the one that the file was written for is a judge.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Find;
use Test::More;
use Weft;

use constant { VERSION => 14, FILES => 20 };

my $tool = tool('clang-format-' . VERSION) // tool('clang-format');
skip_all('there is no clang-format here') if !$tool;
my $version = run_ok($tool, '--version');
skip_all("clang-format is not version @{[VERSION]} here: $version") if $version !~ /version @{[VERSION]}\./;

my $src = Weft::src_dir();
skip_all("there is no .clang-format") if !-e "$src/.clang-format";
my @files;
find({ no_chdir => 1, wanted => sub {
	push @files, $File::Find::name if /\.[ch]$/ && -f $_;
} }, grep { -d $_ } map { "$src/$_" } qw(lib nbdsrv volmgr tagger bpf t));
cmp_ok(@files, '>', 10, 'there are sources to look at');
@files = sort @files;
while (my @some = splice(@files, 0, FILES)) {
	my $got = run($tool, '--dry-run', '-Werror', '--style=file', @some);
	s{^\Q$src\E/}{} for @some;
	is($got->{status}, 0, "$some[0] to $some[-1]") or diag($got->{err});
}
done_testing();
