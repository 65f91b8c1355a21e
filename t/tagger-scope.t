#!/usr/bin/perl
# What tagger shows and lets change of a tree when volmgr says what somebody may see: by no route anything else.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Path qw(make_path);
use Test::More;
use Weft;
use Weft::Tagger;

need(qw(tagger curl));
my $base = temp_dir();
my $dir = "$base/tree";
make_path("$dir/home/uma/trip", "$dir/home/bob/private", "$dir/home/umax", "$dir/plans");
my $words = "Lighthouse keepers row boats. Boats pass the lighthouse. ";
spew("$dir/home/uma/trip/sea.txt", $words x 8);
spew("$dir/home/uma/diary.txt", "My diary of lighthouse days. " x 8);
spew("$dir/home/bob/private/secret-harbour.txt", "Zanzibar contraband. " x 8 . $words x 8);
spew("$dir/home/bob/gift.txt", "A gift of boats. " x 8 . $words x 4);
spew("$dir/home/umax/near.txt", "Zanzibar again. " x 8);
spew("$dir/plans/plan.txt", "The plan has boats. " x 8);
my $tagger = Weft::Tagger->new(dir => $dir, base => $base);
$tagger->wait_idle();

my $scope = 'w:home/uma r:home/bob/gift.txt e:plans';
sub as { my ($list, @request) = @_; $#request = 3 if @request < 4; return $tagger->call(@request[ 0 .. 3 ], '-H', "X-Weft-Scope: $list", '-H', 'X-Weft-User: uma', @request[ 4 .. $#request ]) }
sub uma { return as($scope, @_) }
sub code { return uma(@_)->{code} }
sub said { my $got = uma(@_); die "@_[0, 1]: $got->{code} $got->{body}" if $got->{code} != 200; return json_decode($got->{body}) }
my %id = map { $_ => $tagger->get('/file', path => $_)->{id} } 'home/bob', 'home/bob/private', 'home/bob/private/secret-harbour.txt', 'home/umax', 'home', 'home/bob/gift.txt', 'home/uma';

# ---- looking
my @seen = sort map { $_->{path} } @{ said('GET', '/search', { q => '', limit => 1000 })->{files} };
is_deeply(\@seen, [ 'home/bob/gift.txt', 'home/uma', 'home/uma/diary.txt', 'home/uma/trip', 'home/uma/trip/sea.txt', 'plans', 'plans/plan.txt' ], 'a search for everything finds what is theirs');
is_deeply([ map { $_->{path} } @{ said('GET', '/search', { q => $_ })->{files} } ], [], "nothing of others by $_")
    for 'zanzibar', 'tag:zanzibar', 'name:secret', 'in:home/bob/private', 'zanzibar | name:secret', 'name:umax', '-lighthouse in:home/bob/private';
is(scalar(grep { $_->{path} =~ m{private|umax} } @{ said('GET', '/search', { q => '-diary' })->{files} }), 0, 'nor by what they are not');
is_deeply(said('GET', '/suggest', { q => 'zanz' })->{tags}, [], 'no suggestion comes from them');
is_deeply(said('GET', '/tags', { q => 'zanz' }), { total => 0, tags => [] }, 'no tag');
my ($all) = grep { $_->{tag} eq 'lighthouse' } @{ $tagger->get('/tags', q => 'lighthouse')->{tags} };
my ($mine) = grep { $_->{tag} eq 'lighthouse' } @{ said('GET', '/tags', { q => 'lighthouse' })->{tags} };
cmp_ok($mine->{files}, '<', $all->{files}, 'and what is counted is theirs');
my ($of_file) = grep { $_->{tag} eq 'lighthouse' } @{ said('GET', '/file', { path => 'home/uma/trip/sea.txt' })->{tags} };
is($of_file->{files}, $mine->{files}, 'everywhere');
is_deeply([ grep { !/\A(?:home\/uma(?:\/|\z)|plans|home\/bob\/gift)/ } map { $_->{path} } @{ said('GET', '/neighbours', { path => 'home/uma/trip/sea.txt', limit => 100 })->{files} } ], [], 'neighbours are theirs');
for my $start ({ path => 'home/uma/trip/sea.txt' }, { tag => 'lighthouse' }) {
	my $graph = said('GET', '/graph', { %$start, depth => 5, nodes => 500 });
	is_deeply([ grep { m{private|umax} } map { $_->{path} // () } @{ $graph->{nodes} } ], [], 'so is a graph around a ' . (keys %$start)[0]);
}
is(code('GET', '/graph', { tag => 'zanzibar' }), 404, 'there is none around a tag of others');
my $whole = said('GET', '/graph', { whole => 1 });
my @theirs = map { $_->{path} // () } @{ $whole->{nodes} };
ok(@theirs && !(grep { m{private|umax} } @theirs) && !(grep { ($_->{tag} // '') =~ m{zanzibar} } @{ $whole->{nodes} }) && !exists $whole->{files}, 'that of everything is theirs');
for my $format (qw(json graphml)) {
	my $export = uma('GET', '/export', { format => $format, relations => 1 })->{body};
	ok($export =~ /diary/ && $export !~ /zanzibar|private|umax/i, "the whole graph is theirs ($format)");
}
my %ids = map { $_->{id} => 1 } @{ json_decode(uma('GET', '/export', { relations => 1 })->{body})->{nodes} };
is((grep { !$ids{ $_->{from} } || !$ids{ $_->{to} } } @{ json_decode(uma('GET', '/export', { relations => 1 })->{body})->{edges} }), 0, 'with no line to something else');
ok(!exists said('GET', '/status')->{files} && !exists said('GET', '/status')->{dir}, 'how much others have is not told');

# ---- folders
sub listed { return join(' ', map { $_->{name} } @{ said('GET', '/folder', @_)->{files} }) }
is(listed(), 'home plans', 'one sees the way to what is theirs');
is(listed({ path => 'home' }), 'bob uma', 'and nothing beside it');
is_deeply([ map { $_->{through} ? 1 : 0 } @{ said('GET', '/folder', {})->{files} } ], [ 1, 0 ], 'which is told apart');
is(listed({ path => 'home/bob' }), 'gift.txt', 'also where one file is shared');
is(listed({ path => 'home/uma' }), 'trip diary.txt', 'all of what is below');
is(code('GET', '/folder', { path => 'home/bob/private' }), 404, 'but no other folder');
is(code('GET', '/folder', { id => $id{'home/bob'} }), 404, 'nor by its number');

# ---- one file, by each route, by path, number and around a corner
for my $route (qw(/file /content /thumbnail /sprite /neighbours /graph /folder /archive)) {
	is(code('GET', $route, { path => $_ }), 404, "$route gives no $_")
	    for 'home/bob/private/secret-harbour.txt', 'home/umax/near.txt', 'home/uma/../bob/private/secret-harbour.txt', 'home/uma/../umax', '../log';
	is(code('GET', $route, { id => $id{$_} }), 404, "$route gives none by its number, $_") for 'home/bob/private/secret-harbour.txt', 'home/umax';
}
is(code('GET', '/archive', { path => 'home' }), 404, 'a folder on the way is no archive');
spew("$base/a.tar", uma('GET', '/archive?id=' . join(',', map { $id{$_} } 'home/umax', 'home/bob/gift.txt', 'home/bob/private/secret-harbour.txt'))->{body});
is(run_ok('tar', 'tf', "$base/a.tar"), "home/bob/gift.txt\n", 'of several, those are in it that may be seen');
is(uma('GET', '/content', { path => 'home/bob/gift.txt' })->{body}, slurp("$dir/home/bob/gift.txt"), 'what is shared is read');
is(uma('GET', '/content', { id => $id{'home/bob/gift.txt'} })->{code}, 200, 'by its number, too');

# ---- changing
my %refused = (
	'tags of a shared file' => [ 'POST', '/file/tags', { path => 'home/bob/gift.txt' }, '{"add":["x"]}' ],
	'a new folder beside' => [ 'POST', '/mkdir', { path => 'home/bob/x' } ],
	'one that begins the same' => [ 'POST', '/mkdir', { path => 'home/umax/x' } ],
	'one at the top' => [ 'POST', '/mkdir', { path => 'x' } ],
	'deleting a shared file' => [ 'DELETE', '/file', { path => 'home/bob/gift.txt' } ],
	'deleting their space' => [ 'DELETE', '/file', { path => 'home/uma', recursive => 1 } ],
	'deleting the share' => [ 'DELETE', '/file', { path => 'plans', recursive => 1 } ],
	'renaming their space' => [ 'POST', '/move', { path => 'home/uma', to => 'home/eve' } ],
	'moving a shared file' => [ 'POST', '/move', { path => 'home/bob/gift.txt', to => 'home/uma/gift.txt' } ],
	'taking a file out of a share' => [ 'POST', '/move', { path => 'plans/plan.txt', to => 'home/uma/plan.txt' } ],
	'moving over the file of another' => [ 'POST', '/move', { path => 'home/uma/diary.txt', to => 'home/bob/gift.txt', replace => 1 } ],
	'deleting for good in a share' => [ 'DELETE', '/file', { path => 'plans/plan.txt', forever => 1 } ],
	'an upload beside' => [ 'PUT', '/upload', { path => 'home/bob/up', size => 1, offset => 0 }, 'x' ],
	'one over a file that may be read' => [ 'PUT', '/upload', { path => 'home/bob/gift.txt', size => 1, offset => 0, replace => 1 }, 'x' ],
	'asking for an upload there' => [ 'GET', '/upload', { path => 'home/bob/up', size => 1 } ],
	'ending it' => [ 'DELETE', '/upload', { path => 'home/bob/up', size => 1 } ],
	'renaming a tag of all' => [ 'POST', '/tags/rename', {}, '{"from":"lighthouse","to":"x"}' ],
	'deleting one' => [ 'DELETE', '/tags', { tag => 'lighthouse' } ],
);
is(code(@{ $refused{$_} }), 403, "refused: $_") for sort keys %refused;
is(code('DELETE', '/file', { path => 'home/bob/private', recursive => 1 }), 404, 'what is not seen is not there');
is(code('POST', '/move', { id => $id{'home/bob/private/secret-harbour.txt'}, to => 'home/uma/x' }), 404, 'by its number neither');
is(code('POST', '/mkdir', { path => 'home/uma/new' }), 200, 'in their space they may');
is(code('PUT', '/upload', { path => 'plans/up.txt', size => 2, offset => 0 }, 'up'), 200, 'put something into a share');
is(code('POST', '/move', { path => 'plans/up.txt', to => 'plans/down.txt' }), 200, 'change it there');
is(code('POST', '/move', { path => 'home/uma/diary.txt', to => 'plans/diary.txt' }), 200, 'move something of theirs into it');

# ---- the bin
$tagger->wait_for('the file', sub { $tagger->get('/file', path => 'plans/down.txt') });
my $own = said('DELETE', '/file', { path => 'plans/down.txt' })->{bin};
my $theirs = json_decode($tagger->call('DELETE', '/file', { path => 'plans/plan.txt' }, undef, '-H', 'X-Weft-User: bob')->{body})->{bin};
my $bobs = json_decode($tagger->call('DELETE', '/file', { path => 'home/bob/private', recursive => 1 }, undef, '-H', 'X-Weft-User: bob')->{body})->{bin};
is_deeply([ map { $_->{path} } @{ said('GET', '/bin')->{files} } ], ['plans/down.txt'], 'of a share one sees in the bin what one has deleted');
is(code('POST', '/bin/restore', { id => $_ }), 404, 'nothing else is put back') for $theirs, $bobs;
is(code('DELETE', '/bin', { id => $own }), 403, 'and nothing of it deleted for good');
is(code('DELETE', '/bin', { all => 1 }), 200, 'nor with everything');
is($tagger->get('/bin')->{total}, 3, 'it is all still there');
is(code('POST', '/bin/restore', { id => $own }), 200, 'but put back');
$tagger->ask('POST', '/bin/restore', { id => $bobs });

# ---- events
my $log = "$base/events";
my $pid = fork() // die;
if ($pid == 0) {
	open(STDOUT, '>', $log) or die;
	exec('curl', '-sN', '--max-time', 100, '--unix-socket', "$base/sock", '-H', "X-Weft-Scope: $scope", 'http://x/events');
}
at_end(sub { kill('KILL', $pid); waitpid($pid, 0) });
wait_until('the stream', 60, sub { -s $log });
$tagger->ask('POST', '/mkdir', { path => 'home/bob/hidden-thing' });
$tagger->ask('POST', '/mkdir', { path => 'home/uma/shown-thing' });
wait_until('an event', 60, sub { slurp($log) =~ /shown-thing/ });
unlike(slurp($log), qr/hidden-thing|private|event: progress/, 'events tell of what is theirs');

# ---- a link: paths begin at what is shared
my @link = ('-H', 'X-Weft-Base: home/uma');
sub link_to { my ($route, $query) = @_; return as('r:home/uma/trip', 'GET', $route, $query, undef, @link) }
my $top = json_decode(link_to('/folder', {})->{body});
is_deeply([ $top->{folder}{path}, $top->{folder}{name}, map { $_->{path} } @{ $top->{files} } ], [ '', '', 'trip' ], 'a link shows what it is of, and not where it lies');
is_deeply([ map { $_->{href} } @{ json_decode(link_to('/folder', { path => 'trip' })->{body})->{files} } ], ['trip/sea.txt'], 'with paths from there');
is(link_to('/content', { path => 'trip/sea.txt' })->{code}, 200, 'by which it is read');
is(link_to('/content', { path => $_ })->{code}, 404, "not $_") for 'shown-thing', 'home/uma/trip/sea.txt', '../bob/gift.txt', 'trip/../shown-thing', '';
spew("$base/a.tar", link_to('/archive', { path => 'trip' })->{body});
is(run_ok('tar', 'tf', "$base/a.tar"), "trip/\ntrip/sea.txt\n", 'its archive is of it alone');

# ---- lists that are none
is(as($_, 'GET', '/search', {})->{code}, 400, "no list: $_") for 'x:home', 'home/uma', 'w:/home', 'w:home/', 'w:a%00b', 'w:a+b', 'w:home/uma ,';
is(json_decode(as('-', 'GET', '/search', {})->{body})->{total}, 0, 'an empty list shows nothing');
is(as('-', 'POST', '/mkdir', { path => 'home/x' })->{code}, 403, 'and allows nothing');
is(json_decode(as('r:gone/away', 'GET', '/search', {})->{body})->{total}, 0, 'nor does a path that is not there');
cmp_ok(json_decode(as('w:', 'GET', '/search', {})->{body})->{total}, '>', 10, 'the root is a path, too');
$tagger->stop();
done_testing();
