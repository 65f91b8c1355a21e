#!/usr/bin/perl
# volmgr/openapi.json, weft-api(7) and tagger(8) against the tables of routes, and the members that bodies may have
# against what is parsed; every event has its words on the page (refusals: t/texts.t). No daemon is needed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;

my $src = src_dir();
my $doc = json_decode(slurp("$src/volmgr/openapi.json"));
my %names = (NONE => 'nobody in particular', READ => 'read-only', USER => 'user', ADMIN => 'admin');

# method and path => role
my (%routes, %described);
for my $line (slurp("$src/volmgr/api.c") =~ /^\t\{HTTP_(.*)$/mg) {
	my ($method, $collection, $named, $tail, $need) = $line =~ /^(\w+), "(\w+)", (\w+), (NULL|"\w+"), \w+, ROLE_(\w+),/
	    or die "a route that cannot be read: $line\n";
	my $path = "/$collection" . ($named eq 'true' ? '/{}' : '') . ($tail eq 'NULL' ? '' : '/' . $tail =~ tr/"//dr);
	$routes{"$method $path"} = $names{$need};
}
my %own = %routes;
cmp_ok(scalar keys %routes, '>', 30, 'there are routes');
# what tagger adds to them, which volmgr passes on: readers look, users change
my $tagger_man = slurp("$src/man/tagger.8") =~ s/\\f[BIR]|\\//gr;
my $tagger_routes = 0;
for my $line (slurp("$src/tagger/api.c") =~ /^\t\{HTTP_(.*)$/mg) {
	my ($method, $path) = $line =~ m{^(\w+), "(/[\w/]+)", api_\w+\},} or die "a route that cannot be read: $line\n";
	$routes{"$method /tagger$path"} = $method eq 'GET' ? 'read-only' : 'user';
	like($tagger_man, qr/^$method +\Q$path\E(?: |$)/m, "tagger(8) has $method $path");
	$tagger_routes++;
}
cmp_ok($tagger_routes, '>', 20, 'tagger has routes');
my $in_man = () = $tagger_man =~ m{^(?:GET|POST|PUT|DELETE) +/}mg;
is($in_man, $tagger_routes, 'and tagger(8) has no others');
$routes{'GET /metrics'} = 'read-only';
for my $path (sort keys %{ $doc->{paths} }) {
	for my $method (grep { $_ ne 'servers' } sort keys %{ $doc->{paths}{$path} }) {
		my $op = $doc->{paths}{$path}{$method};
		$described{uc($method) . ' ' . ($path =~ s/\{\w+\}/{}/gr)} = $op->{'x-role'};
		my %parameters = map { $_->{in} eq 'path' ? ($_->{name} => 1) : () } @{ $op->{parameters} // [] };
		is_deeply(\%parameters, { map { $_ => 1 } $path =~ /\{(\w+)\}/g }, "$method $path: its parameters are described");
		ok(length $op->{summary}, "$method $path: it says what it does");
	}
}
is_deeply(\%described, \%routes, 'the OpenAPI file has the routes of volmgr and tagger, with the roles they need');

# what is asked for in a query is what tagger reads there, and the other way round
my %read = map { $_ => 1 } map { slurp($_) =~ /(?:http_query|api_number)\(r, "(\w+)"/g } glob("$src/tagger/*.c");
my %asked = map { $_->{name} => 1 } map { my $p = $_; map { @{ $doc->{paths}{$p}{$_}{parameters} // [] } } keys %{ $doc->{paths}{$p} } } grep { m{^/tagger/} } keys %{ $doc->{paths} };
is_deeply([ sort keys %asked ], [ sort keys %read ], "tagger's parameters are described");

# bodies: each list of known members is one of the schemas
my @schemas = map { join(' ', sort keys %{ $doc->{components}{schemas}{$_}{properties} // {} }) }
    grep { exists $doc->{components}{schemas}{$_}{additionalProperties} } keys %{ $doc->{components}{schemas} };
for my $file (qw(api-commands.c api-login.c api-people.c api-shares.c api-parse.c api-moves.c)) {
	my $text = slurp("$src/volmgr/$file");
	while ($text =~ /const known\[\] = \{(.*?)NULL\}/sg) {
		my $members = join(' ', sort $1 =~ /"(\w+)"/g);
		next if $members eq 'dry_run force servers'; # of recover, for volctl only
		ok((grep { $_ eq $members } @schemas), "$file: a schema describes {$members}");
	}
}
for my $ref (slurp("$src/volmgr/openapi.json") =~ m{"#/components/(\w+/\w+)"}g) {
	my ($kind, $name) = split(m{/}, $ref);
	fail("$ref is not there") if !exists $doc->{components}{$kind}{$name};
}

# the manual names each route
my $man = slurp("$src/man/weft-api.7") =~ s/\\f[BIR]|\\//gr;
for my $route (sort keys %own) {
	my ($method, $path) = split(/ /, $route);
	(my $pattern = quotemeta $path) =~ s/\\\{\\\}/[A-Z]+/g;
	like($man, qr/^$method +$pattern(?: |$)/m, "weft-api(7) has $route");
}

# what volmgr notes and refuses is what the page can say
my @c = map { slurp($_) } glob("$src/volmgr/*.c");
my %events = map { $_ => 1 } map { /"((?:volmgr|server|host|command|volume|scrub|cluster|login|person|token|session|invitation|settings|file|bin|share|space|folder|tag)\.[a-z]{2,})"/g } @c;
my @languages = map { slurp("$src/www/js/text-$_.js") } qw(en zh);
for my $event (sort keys %events) {
	ok($languages[0] =~ /['"]\Q$event\E['"]/ && $languages[1] =~ /['"]\Q$event\E['"]/, "the page has words for $event");
}

# the dashboard asks for metrics that are there
my %metrics = map { $_ => 1 } map { /"([a-z][a-z0-9_]*)", ?"(?:gauge|counter|histogram|[A-Z][^"]*\.)"/g } map { slurp($_) =~ s{\s+}{ }gr } glob("$src/volmgr/metrics*.c");
$metrics{$_} = 1 for slurp("$src/volmgr/metrics.c") =~ /"(volume_\w+_bytes_total)"/g;
for my $metric (slurp("$src/volmgr/grafana.json") =~ /\bweft_(\w+)/g) {
	ok($metrics{$metric =~ s/_(?:bucket|count|sum)\z//r} || $metrics{$metric}, "the dashboard's metric $metric is there");
}

# both languages have the same names
my @keys = map { my $text = $_; join(' ', sort { $a cmp $b } $text =~ /(?:^\t|, )(\w+): (?=['(`{])/mg) } map { s/^\t(?:states|sentences|roles|refusals|eventTexts|kinds|whys|scrubs|duties): \{.*?^?\},?$//msgr } @languages;
is($keys[1], $keys[0], 'English and Chinese have the same texts');
done_testing();
