#!/usr/bin/perl
# /metrics by the rules of Prometheus' text format and of its names, line by line: what promtool looks at,
# without its hundred megabytes. A rebuild, a scrub and a tagger that answers are in it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;
use Weft::Cluster;
use Weft::HTTP;

need(qw(nbdsrv volmgr volctl nbdcopy));
my $dir = temp_dir();
my $cluster = Weft::Cluster->new(dir => "$dir/c", servers => 3, ec => '2+1', size => '64M', volume => 'vol', args => { volmgr => [ '--tagger', "$dir/tagger.sock", '--server-timeout', 60000 ] });
$cluster->up;
at_end(sub { $cluster->kill });
my $tagger;
if (program('tagger')) {
	mkdir("$dir/files") or die $!;
	spew("$dir/files/a.txt", 'a lighthouse');
	$tagger = daemon_start(name => 'tagger', log => "$dir/tagger.log", argv => [ program('tagger'), '--socket', "$dir/tagger.sock",
		'--workers', 1, '--workers-dir', build_dir() . '/tagger/worker' ], positional => [ "$dir/files" ]);
}
at_end(sub { daemon_stop($tagger) if $tagger });

api('PATCH', '/settings', { metrics => JSON::PP::true() });
(my $base = $cluster->http) =~ s/\Atcp:/http:\/\//;
my $page = Weft::HTTP->new($base);

sub api { return http_local($cluster->socket, @_) }

# name => { type, help, samples => [ [ name, { labels }, value ] ] }; what breaks a rule fails.
sub parse
{
	my ($text) = @_;
	my (%metrics, $open, %seen);
	my $bad = 0;
	my $complain = sub { diag("$_[0]: $_") if $bad++ < 5; return };
	ok($text =~ /\n\z/, 'it ends with a line');
	for (split(/\n/, $text)) {
		if (/^# HELP ([a-z_][a-z0-9_]*) (\S.*)$/) {
			my ($name, $help) = ($1, $2);
			$complain->('described twice') if $metrics{$name};
			$complain->('a description ends with a full stop') if $help !~ /\.$/;
			$metrics{ $open = $name } = { help => $help, samples => [] };
		} elsif (/^# TYPE ([a-z_][a-z0-9_]*) (counter|gauge|histogram)$/) {
			$complain->('a type without or away from its help') if !defined $open || $1 ne $open || $metrics{$1}{type};
			$metrics{$1}{type} = $2;
		} elsif (/^([a-z_][a-z0-9_]*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)+)\})? (-?[0-9.]+(?:e[+-]?[0-9]+)?)$/) {
			my ($name, $labels, $value) = ($1, $2 // '', $3);
			my %labels = $labels =~ /([a-z_]+)="((?:[^"\\]|\\.)*)"/g;
			my $type = defined $open ? $metrics{$open}{type} // '' : '';
			(my $family = $name) =~ s/_(?:bucket|sum|count)$// if $type eq 'histogram';
			$complain->('a sample outside of its family') if !defined $open || ($family // $name) ne $open || $type eq '';
			$complain->('twice the same') if $seen{"$name\{" . join(',', map { "$_=$labels{$_}" } sort keys %labels)}++;
			push @{ $metrics{$open}{samples} }, [ $name, \%labels, $value ] if defined $open;
		} else {
			$complain->('no line of this format');
		}
	}
	is($bad, 0, 'every line is as the format wants it');
	return \%metrics;
}

# What promtool warns of.
sub lint
{
	my ($metrics) = @_;
	my @odd;
	for my $name (sort keys %$metrics) {
		my $m = $metrics->{$name};
		push @odd, "$name: a prefix" if $name !~ /^weft_/;
		push @odd, "$name: counters end with _total, and only they" if ($m->{type} eq 'counter') != ($name =~ /_total$/ ? 1 : 0);
		push @odd, "$name: base units" if $name =~ /(?:milli|micro|_ms|_us|_kb|_mb|kilo|mega|_percent|_minutes|_hours)/i;
		push @odd, "$name: the type in its name" if $name =~ /_(?:counter|gauge|histogram|count|sum|bucket)$/;
		push @odd, "$name: a counter below zero" if $m->{type} eq 'counter' && grep { $_->[2] < 0 } @{ $m->{samples} };
		push @odd, histogram($name, $m) if $m->{type} eq 'histogram';
	}
	return @odd;
}

# Buckets rise, the last is +Inf and is the count.
sub histogram
{
	my ($name, $m) = @_;
	my (%of, @odd);
	for my $sample (@{ $m->{samples} }) {
		my ($what, $labels, $value) = @$sample;
		my %rest = %$labels;
		my $le = delete $rest{le};
		my $key = join(',', map { "$_=$rest{$_}" } sort keys %rest);
		if (defined $le) {
			my $last = $of{$key}{last};
			push @odd, "$name: bounds must rise" if $last && $le ne '+Inf' && $le <= $last->[0];
			push @odd, "$name: buckets must not fall" if $last && $value < $last->[1];
			$of{$key}{last} = [ $le eq '+Inf' ? 9e99 : $le, $value ];
		} else {
			$of{$key}{ $what =~ s/.*_//r } = $value;
		}
	}
	for my $key (keys %of) {
		my $h = $of{$key};
		push @odd, "$name $key: a sum, a count and +Inf, which is the count" if !defined $h->{sum} || !defined $h->{count}
		    || !$h->{last} || $h->{last}[0] != 9e99 || $h->{last}[1] != $h->{count};
	}
	return @odd;
}

# The figure of a metric, with these labels.
sub figure
{
	my ($metrics, $name, %labels) = @_;
	my ($sample) = grep { my $s = $_; !grep { ($s->[1]{$_} // '') ne $labels{$_} } keys %labels } @{ $metrics->{"weft_$name"}{samples} // [] };
	return $sample ? $sample->[2] : undef;
}

sub scrape
{
	my ($status, $text, $headers) = $page->ask('GET', '/metrics');
	die "status $status" if $status != 200;
	like($headers->{'content-type'}, qr{\Atext/plain; version=0\.0\.4}, 'it says which format it is');
	return parse($text);
}

# ---- something to count -------------------------------------------------------------------------
spew("$dir/in", 'x' x (16 << 20));
run_ok(tool('nbdcopy'), "$dir/in", $cluster->uri);
$cluster->stop('server-3');
wait_until('volmgr to see that a server is gone', 60, sub { (api('GET', '/servers/server-3'))[1]{state} eq 'down' });
spew("$dir/in", 'y' x (16 << 20));
run_ok(tool('nbdcopy'), "$dir/in", $cluster->uri);
wait_until('stale shards', 60, sub { (api('GET', '/volumes/vol'))[1]{rebuild}{shards} > 0 });
my $while = scrape();
cmp_ok(figure($while, 'volume_stale_shards', volume => 'vol') // 0, '>', 0, 'stale shards are counted');
is(figure($while, 'server_up', server => 'server-3'), 0, 'a server that is away is 0');
$cluster->start('server-3');
wait_until('the rebuild', 60, sub { my $r = (api('GET', '/volumes/vol'))[1]{rebuild}; $r->{rebuilt} > 0 && $r->{shards} == 0 });
api('POST', '/scrub', { action => 'start' });
wait_until('the scrub', 60, sub { (api('GET', '/scrub'))[1]{scrubs}[0]{state} eq 'done' });
if ($tagger) {
	wait_until('tagger to have read its file', 60, sub { (figure(quietly(), 'tagger_read_files') // 0) > 0 });
}

sub quietly
{
	my (undef, $text) = $page->ask('GET', '/metrics');
	my %m;
	push @{ $m{$1}{samples} }, [ $1, {}, $2 ] while $text =~ /^(weft_\w+) (\S+)$/mg;
	return \%m;
}

my $metrics = scrape();
is_deeply([ lint($metrics) ], [], 'names and histograms follow the conventions');
cmp_ok(figure($metrics, 'volume_rebuilt_shards_total', volume => 'vol'), '>', 0, 'rebuilt shards are counted');
is(figure($metrics, 'volume_stale_shards', volume => 'vol'), 0, 'none is stale any more');
is(figure($metrics, 'volume_scrub_progress_ratio', volume => 'vol'), 1, 'the scrub is done');
cmp_ok(figure($metrics, 'volume_scrub_finished_timestamp_seconds', volume => 'vol'), '>', 1.6e9, 'and when is said');
is(figure($metrics, 'volume_scrub_lost_rows', volume => 'vol'), 0, 'nothing was lost');
cmp_ok(figure($metrics, 'volume_request_duration_seconds', volume => 'vol', op => 'write', le => '16.777216') // 1, '>', 0, 'latencies are there');
is(figure($metrics, 'moves_wanted_shards'), 0, 'no shard has to move');
SKIP: {
	skip('promtool is not there', 1) if !tool('promtool');
	my (undef, $text) = $page->ask('GET', '/metrics');
	my $checked = run({ stdin => $text }, tool('promtool'), 'check', 'metrics');
	is("$checked->{status} $checked->{out}$checked->{err}", '0 ', 'promtool finds no fault in them');
}
is(figure($metrics, 'tagger_up'), $tagger ? 1 : 0, 'whether tagger answers is said');
SKIP: {
	skip('tagger is not built', 8) if !$tagger;
	is(figure($metrics, 'tagger_files'), 1, 'its files are counted');
	is(figure($metrics, 'prefetch_on'), 1, 'that it reads ahead is said');
	is(figure($metrics, "prefetch_${_}_total"), 0, "and what came of it: $_") for qw(files bytes hits waste);
	daemon_stop($tagger);
	undef $tagger;
	my $without = scrape();
	is(figure($without, 'tagger_up'), 0, 'without it the rest is there');
	is(figure($without, 'tagger_files'), undef, 'and nothing is made up');
}

# the rules are rules
my @wrong = lint({ weft_x_total => { type => 'gauge', samples => [] }, weft_y_ms => { type => 'gauge', samples => [] } });
is(scalar @wrong, 2, 'what breaks a convention is seen');
done_testing();
