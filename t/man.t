#!/usr/bin/perl
# The manual pages hold what --help holds and the other way round, show examples first, and render
# without a warning.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;

my $man = Weft::src_dir() . '/man';
my @pages = map { s{.*/}{}r } glob("$man/*.[1-8]");
is_deeply(\@pages, [qw(nbdsrv.8 tagger.8 volctl.8 volmgr.8 weft-api.7 weft-ebpf.7 weft-format.5 weft-index.5 weft-protocol.7 weft-recovery.7 weft-web.7 weft.conf.5)],
	'all pages are there');

# Options that stand at the head of an item in the OPTIONS section.
sub page_options
{
	my ($text) = @_;
	my ($section) = $text =~ /^\.SH OPTIONS\n(.*?)^\.SH /ms or return [];
	my %seen;
	for my $head ($section =~ /^\.TP\n(.*)\n/mg) {
		$seen{$_ =~ s/\\//gr} = 1 for $head =~ /(\\-\\-[a-z\\-]+)/g;
	}
	return [sort keys %seen];
}

sub help_options
{
	my ($program) = @_;
	my %seen;
	my $main = run_ok($program, '--help');
	my @texts = ($main);
	# commands, with helps of their own
	push @texts, map { run_ok($program, split(/ /), '--help') } $main =~ /^  ([a-z]+(?: [a-z]+)?)(?= |$)/mg
	    if $main =~ /^Commands:/m;
	for my $text (@texts) {
		$seen{$_} = 1 for $text =~ /(?<![\w-])(--[a-z][a-z-]*)/g;
	}
	return [sort keys %seen];
}

for my $page (@pages) {
	my $text = slurp("$man/$page");
	my @sections = $text =~ /^\.SH "?([A-Z ]+?)"?$/mg;
	is(join(', ', @sections[0 .. 3]), 'NAME, SYNOPSIS, EXAMPLES, DESCRIPTION', "$page: sections in order");
	is($sections[-1], 'SEE ALSO', "$page: ends with what else to read");
	for my $name ($text =~ /^\.BR ([\w.\\-]+) \((?:5|7|8)\),?$/mg) {
		$name =~ s/\\//g;
		ok(-e (glob("$man/$name.[578]"))[0] // '', "$page: refers to $name, which exists")
		    if $name =~ /^(?:weft|vol(?:ctl|mgr)$|nbdsrv$|tagger$)/;
	}
	SKIP: {
		skip('mandoc is not here', 1) if !tool('mandoc');
		is(run('mandoc', '-Tlint', '-Wwarning', "$man/$page")->{out}, '', "$page: mandoc finds nothing");
	}
	SKIP: {
		skip('man or groff is not here', 1) if !tool('man') || !tool('groff');
		is(run({ env => { LC_ALL => 'C.UTF-8', MANWIDTH => 80, MANROFFSEQ => '' } },
			qw(man --warnings -E UTF-8 -l -Tutf8 -Z), "$man/$page")->{err}, '', "$page: man warns of nothing");
	}
}

for my $name (qw(nbdsrv volmgr volctl tagger)) {
	SKIP: {
		my $program = program($name);
		skip("$name is not built", 1) if !$program;
		is_deeply(page_options(slurp("$man/$name.8")), help_options($program),
			"$name: the page and --help have the same options");
	}
}

# and the keys of the config file are the options that may stand in it
my $conf = slurp("$man/weft.conf.5");
for my $name (qw(nbdsrv volmgr volctl tagger)) {
	my ($keys) = $conf =~ /^\.SS Keys of \[$name\]\n(.*?)^\.S[SH] /ms;
	$keys =~ s/;.*//s;
	my %keys = map { s/\\//gr => 1 } $keys =~ /^\.BR? ([a-z\\-]+)/mg;
	my %want = map { s/^--//r => 1 } @{ page_options(slurp("$man/$name.8") =~ s/^\.SS Options of commands.*?(?=^\.SH )//msr) };
	delete @want{qw(help version config ready-fd once limit json format size force check)};
	is(join(' ', sort keys %keys), join(' ', sort keys %want), "weft.conf.5: the keys of [$name]");
}

# what the page sends at once passes a proxy that is set up as the manual says
my $web = slurp("$man/weft-web.7");
my ($piece) = slurp(Weft::src_dir() . '/www/js/upload.js') =~ /^const PIECE = (\d+) << 20;/m;
my ($passed) = $web =~ /bodies of (\d+) MiB/;
cmp_ok($passed // 0, '>=', $piece // 999, 'weft-web.7: a proxy passes the pieces of an upload');
like($web, qr/^ +client_max_body_size 0;\n/m, 'weft-web.7: nginx, too');
like(slurp(Weft::src_dir() . "/www/js/text-$_.js"), qr/tooLarge: '[^'\n]* $passed MiB/, "text-$_.js: and the page says the same") for qw(en zh);

done_testing();
