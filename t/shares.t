#!/usr/bin/perl
# Spaces and shares over TCP, with a tagger on a folder: each sees his own by no route anything else, a share gives what
# its giver has, a link ends, who received something takes off the entry and not the file.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Path qw(make_path);
use POSIX ();
use Test::More;
use Weft;
use Weft::HTTP;
use Weft::Tagger;

need(qw(volmgr volctl tagger curl));
my $dir = temp_dir();
my $tree = "$dir/tree";
make_path("$tree/home/bob/private", "$tree/plans", "$tree/photos/2024 b");
spew("$tree/home/bob/private/harbour.txt", 'Zanzibar contraband under a lighthouse. ' x 8);
spew("$tree/home/bob/gift.txt", 'A gift of boats. ' x 8);
spew("$tree/plans/plan.txt", 'The plan has boats. ' x 8);
spew("$tree/photos/2024 b/sea.txt", 'The sea has boats. ' x 8);
spew("$tree/top.txt", 'on top');
my $tagger = Weft::Tagger->new(dir => $tree, base => $dir);
$tagger->wait_idle();
run_ok(program('volctl'), 'cluster', 'init', '--secret', "$dir/secret");

my $volmgr;

sub start
{
	$volmgr = daemon_start(name => 'volmgr', log => "$dir/volmgr.log", argv => [ program('volmgr'), '--dir', "$dir/meta", '--secret',
		"$dir/secret", '--listen', "unix:$dir/nbd", '--socket', "$dir/vsock", '--http', 'tcp:127.0.0.1:0', '--tagger', "$dir/sock" ]);
	return 'http://' . ($volmgr->{http} =~ s/\Atcp://r);
}

my $base = start();
at_end(sub { daemon_stop($volmgr) if $volmgr });
my %who;

sub log_in { my ($name) = @_; $who{$name} = Weft::HTTP->new($base); $who{$name}->login({ name => $name, password => "$name is long" }); return }
run_ok({ stdin => "alice is long\n" }, program('volctl'), '--socket', "$dir/vsock", 'user', 'add', 'alice', '--role', 'admin');
log_in('alice');
for my $p ([ bob => 'user' ], [ uma => 'user' ], [ rob => 'read-only' ]) {
	$who{alice}->api('POST', '/people', { name => $p->[0], role => $p->[1], password => "$p->[0] is long" });
	log_in($p->[0]);
}
$who{guest} = Weft::HTTP->new($base);

sub api { my ($name, @request) = @_; return $who{$name}->api(@request) }
sub status { return (api(@_))[0] }
sub code { my ($status, $said) = api(@_); return "$status " . (ref $said eq 'HASH' ? $said->{error}{code} // '' : '') }
sub said { my ($status, $said) = api(@_); die "@_: $status " . (ref $said ? json_encode($said) : $said) . "\n" if $status >= 300; return $said }
sub found { my ($name, $q) = @_; return join(' ', sort map { $_->{path} } @{ said($name, 'GET', '/tagger/search?limit=100&q=' . ($q // ''))->{files} }) }
sub true { return JSON::PP::true() }
sub shares { my ($name, $list) = @_; return @{ said($name, 'GET', '/shares')->{$list} } }

# ---- everybody sees all, until it is switched on
is(status('uma', 'GET', '/tagger/content?path=home/bob/private/harbour.txt'), 200, 'at first users see all files');
ok(!said('uma', 'GET', '/me')->{spaces}, 'which the page is told');
is(said('uma', 'GET', '/spaces')->{on}, JSON::PP::false(), 'and there are no spaces');
is(code('bob', 'PATCH', '/settings', { spaces => true() }), '403 not_allowed', 'a user does not switch it');
is(status('alice', 'PATCH', '/settings', { spaces => true(), guests => true() }), 200, 'an admin does');
my $all = found('alice');
is(found('uma') . found('guest') . found('rob'), '', 'then users and guests see nothing');
is(found('bob'), 'home/bob home/bob/gift.txt home/bob/private home/bob/private/harbour.txt', 'but their own space');
is(found('alice'), $all, 'admins see all');
ok(!-e "$tree/home/uma", 'a space is not made before');
is(said('uma', 'GET', '/spaces')->{spaces}[0]{path}, 'home/uma', 'it is told');
ok(-d "$tree/home/uma", 'and made');
is(said('rob', 'GET', '/spaces')->{spaces}[0]{write}, JSON::PP::false(), 'a reader has one to look');
ok(!-e "$tree/home/rob", 'which is not made');
is(status('uma', 'POST', '/tagger/mkdir?path=home/uma/boxes'), 200, 'they make something in it');
is(code('uma', 'POST', '/tagger/mkdir?path=plans/boxes'), '403 not_allowed', 'and nothing elsewhere');
is(code('rob', 'POST', '/tagger/mkdir?path=home/rob'), '403 not_allowed', 'a reader nowhere');

# ---- spaces
is(code('bob', 'POST', '/spaces', { path => '', person => 'bob', write => true() }), '403 not_allowed', 'nobody gives himself a space');
is(code('alice', 'POST', '/spaces', { path => $_, person => 'uma' }), '400 bad_path', "no path: $_") for '../x', '/plans', 'plans/', '.weft', 'a//b', '.weft/bin';
is(code('alice', 'POST', '/spaces', { path => 'none', person => 'uma' }), '404 no_such_file', 'a space is of a folder that is there');
is(code('alice', 'POST', '/spaces', { path => 'plans', person => 'nobody' }), '404 no_such_person', 'for somebody');
my $plans = said('alice', 'POST', '/spaces', { path => 'plans', person => 'uma', write => true() });
my $photos = said('alice', 'POST', '/spaces', { path => 'photos/2024 b' });
is(found('uma'), 'home/uma home/uma/boxes photos/2024 b photos/2024 b/sea.txt plans plans/plan.txt', 'she sees the spaces she was given');
is(found('rob'), 'photos/2024 b photos/2024 b/sea.txt', 'and all one that is for everybody');
is(found('guest'), '', 'but no guest');
is(code('uma', 'DELETE', '/tagger/file?path=photos/2024%20b/sea.txt'), '403 not_allowed', 'which is to look');
is(status('uma', 'POST', '/tagger/move?path=plans/plan.txt&to=home/uma/plan.txt'), 200, 'hers are to change');
is(code('uma', 'DELETE', '/tagger/file?path=plans&recursive=1'), '403 not_allowed', 'but stay where they are');
is(code('uma', 'DELETE', "/spaces/$plans->{id}"), '403 not_allowed', 'an admin takes them away');
is(scalar(@{ said('rob', 'GET', '/spaces')->{spaces} }), 2, 'others are not told of hers');

# ---- shares with a person
is(code('uma', 'POST', '/shares', { path => 'home/bob/gift.txt', person => 'rob' }), '403 not_yours', 'what is not hers is not hers to share');
is(code('uma', 'POST', '/shares', { path => 'photos/2024 b', person => 'bob', write => true() }), '403 not_yours', 'nor more than she has');
is(code('rob', 'POST', '/shares', { path => 'photos/2024 b', person => 'bob' }), '403 not_allowed', 'a reader shares nothing');
is(code('bob', 'POST', '/shares', { path => 'home/bob/none', person => 'uma' }), '404 no_such_file', 'nor is what is not there');
is(code('bob', 'POST', '/shares', { path => 'home/bob/gift.txt', person => 'bob' }), '400 bad_share', 'nor with oneself');
is(code('bob', 'POST', '/shares', { path => '', person => 'uma' }), '400 bad_path', 'nor everything');
my $gift = said('bob', 'POST', '/shares', { path => 'home/bob/gift.txt', person => 'uma' });
my $private = said('bob', 'POST', '/shares', { path => 'home/bob/private', person => 'uma', write => true() });
like(found('uma'), qr{home/bob/gift.txt home/bob/private home/bob/private/harbour.txt}, 'she sees what is shared with her');
is(found('uma', 'zanzibar'), 'home/bob/private/harbour.txt', 'and finds it');
is(code('uma', 'POST', '/shares', { path => 'home/bob/gift.txt', person => 'rob' }), '403 not_yours', 'she does not share it on');
is(code('uma', 'DELETE', '/tagger/file?path=home/bob/gift.txt'), '403 not_allowed', 'nor delete it');
is(code('uma', 'POST', '/tagger/move?path=home/bob/private/harbour.txt&to=home/uma/h.txt'), '403 not_allowed', 'nor take it');
is(code('uma', 'DELETE', '/tagger/file?path=home/bob/private&recursive=1'), '403 not_allowed', 'nor all of it');
is(status('uma', 'PUT', '/tagger/upload?path=home/bob/private/up.txt&size=2&offset=0', 'up', type => 'application/octet-stream'), 200, 'she puts something into what she may change');
is(code('rob', 'DELETE', "/shares/$gift->{id}"), '404 no_such_share', 'a share of others is not there');
is_deeply([ map { $_->{path} } shares('uma', 'received') ], [ 'home/bob/gift.txt', 'home/bob/private' ], 'both are told to her');
is_deeply([ map { "$_->{person} $_->{path}" } shares('bob', 'given') ], [ 'uma home/bob/gift.txt', 'uma home/bob/private' ], 'and to him');
is(scalar(shares('rob', 'received')) + scalar(shares('rob', 'given')), 0, 'and to nobody else');
is(scalar(@{ said('alice', 'GET', '/shares?all=1')->{given} }), 2, 'but an admin');
is(status('uma', 'DELETE', "/shares/$gift->{id}"), 200, 'she takes one off her list');
is(scalar(shares('uma', 'received')), 1, 'it is off');
is(slurp("$tree/home/bob/gift.txt"), 'A gift of boats. ' x 8, 'and no file is touched');
is(status('uma', 'GET', '/tagger/content?path=home/bob/gift.txt'), 404, 'she sees it no more');
is(status('bob', 'DELETE', "/shares/$private->{id}"), 200, 'he ends the other');
is(status('uma', 'GET', '/tagger/content?path=home/bob/private/harbour.txt'), 404, 'then that is over, too');

# ---- moved, deleted, put back
$private = said('bob', 'POST', '/shares', { path => 'home/bob/private/harbour.txt', person => 'uma' });
said('bob', 'POST', '/tagger/move?path=home/bob/private&to=home/bob/open');
is((shares('uma', 'received'))[0]{path}, 'home/bob/open/harbour.txt', 'a share goes along when it is moved');
is(status('uma', 'GET', '/tagger/content?path=home/bob/open/harbour.txt'), 200, 'and leads there');
my $bin = said('bob', 'DELETE', '/tagger/file?path=home/bob/open&recursive=1')->{bin};
ok((shares('uma', 'received'))[0]{gone}, 'it rests when it is deleted');
make_path("$tree/home/bob/open");
spew("$tree/home/bob/open/harbour.txt", 'something else by now');
$tagger->wait_for('the new file', sub { $tagger->get('/file', path => 'home/bob/open/harbour.txt') });
is(status('uma', 'GET', '/tagger/content?path=home/bob/open/harbour.txt'), 404, 'also when something else is there');
my $back = said('bob', 'POST', "/tagger/bin/restore?id=$bin")->{path};
is($back, 'home/bob/open (2)', 'it is put back elsewhere');
is((shares('uma', 'received'))[0]{path}, "$back/harbour.txt", 'and the share with it');
$tagger->wait_for('the file', sub { $tagger->get('/file', path => "$back/harbour.txt") });
is((api('uma', 'GET', '/tagger/content?path=' . Weft::Tagger::escape("$back/harbour.txt")))[1], 'Zanzibar contraband under a lighthouse. ' x 8, 'which leads to it again');

# ---- what the giver has
my $of_plans = said('uma', 'POST', '/shares', { path => 'plans', person => 'bob', write => true() });
$tagger->wait_for('the folder', sub { found('bob') =~ /plans/ });
is(status('bob', 'POST', '/tagger/mkdir?path=plans/his'), 200, 'what she was given she shares');
is(status('alice', 'DELETE', "/spaces/$plans->{id}"), 200, 'when it is taken from her');
unlike(found('bob'), qr/plans/, 'it is from him, too');
ok(!(shares('bob', 'received'))[0]{live} || !(shares('uma', 'given'))[0]{live}, 'which both are told');
said('alice', 'PATCH', '/people/bob', { role => 'read-only' });
is(code('bob', 'POST', '/tagger/mkdir?path=home/bob/x'), '403 not_allowed', 'who may only look changes nothing of his own either');
said('alice', 'PATCH', '/people/bob', { role => 'user' });

# ---- links
is(code('bob', 'POST', '/shares', { path => 'home/bob/gift.txt', days => 0 }), '400 bad_link', 'a link ends');
is(code('bob', 'POST', '/shares', { path => 'home/bob/gift.txt', write => true() }), '400 bad_link', 'and is to look');
my $link = said('bob', 'POST', '/shares', { path => $back, days => 3, label => 'for the press' });
my $file = said('bob', 'POST', '/shares', { path => 'home/bob/gift.txt' });
like($link->{secret}, qr/\A[\w-]{43}\z/, 'its secret cannot be guessed');
ok(!(grep { defined $_->{secret} } shares('bob', 'given')), 'and is told once');
cmp_ok(abs($link->{expires} - time - 3 * 86400), '<', 60, 'it ends when it was said');
sub shared { my ($s, $rest) = @_; return $who{guest}->api('GET', "/shared/$s->{secret}" . ($rest // '')) }
$who{guest} = Weft::HTTP->new($base);
said('alice', 'PATCH', '/settings', { guests => JSON::PP::false() });
my ($status, $said) = shared($link);
is_deeply([ $status, @$said{qw(name giver folder)} ], [ 200, 'open (2)', 'bob', true() ], 'without logging in one sees what it is');
($status, $said) = shared($link, '/folder');
is_deeply([ map { $_->{path} } $said->{folder}, @{ $said->{files} } ], [ '', 'open (2)' ], 'and that alone');
($status, $said) = shared($link, '/folder?path=open%20(2)');
is_deeply([ map { $_->{href} } @{ $said->{files} } ], [ map { "open%20%282%29/$_" } 'harbour.txt', 'up.txt' ], 'with what is in it');
is((shared($link, '/content?path=open%20(2)/harbour.txt'))[1], 'Zanzibar contraband under a lighthouse. ' x 8, 'one reads it');
is((shared($file, '/content?path=gift.txt'))[1], slurp("$tree/home/bob/gift.txt"), 'also when it is one file');
my $gift_id = said('bob', 'GET', '/tagger/file?path=home/bob/gift.txt')->{id};
like((shared($link, $_))[0], qr/^40[04]\z/, "nothing beyond it: $_")
    for map({ my $route = $_; map { "/$route?$_" } "id=$gift_id", 'path=gift.txt', 'path=home/bob/gift.txt', 'path=open%20(2)/../gift.txt', 'path=../bob/gift.txt', 'path=top.txt' } qw(content thumbnail sprite archive folder)),
    '/search?q=', '/file?path=open%20(2)', '/suggest?q=za', '/tags', '/graph?tag=boats', '/export', '/events', '/status', '/bin', '/upload?path=x&size=1', '/neighbours?path=open%20(2)/harbour.txt', '/content/x?path=open%20(2)/harbour.txt', '/../tagger/status';
is(($who{guest}->api($_->[0], "/shared/$link->{secret}/$_->[1]"))[0], 404, "nor any change: @$_") for [ POST => 'mkdir?path=open%20(2)/x' ], [ DELETE => 'file?path=open%20(2)' ], [ PUT => 'upload?path=x&size=1' ], [ POST => 'folder' ];
is(($who{guest}->ask('GET', "/api/v1/shared/$link->{secret}/content?path=open%20(2)/harbour.txt", undef, headers => { 'X-Weft-Scope' => 'w:', 'X-Weft-Base' => '' }))[0], 200, 'headers of the visitor');
is(($who{guest}->ask('GET', "/api/v1/shared/$link->{secret}/content?path=top.txt", undef, headers => { 'X-Weft-Scope' => 'w:', 'X-Weft-Base' => '' }))[0], 404, 'give nothing more');
is(($who{uma}->ask('GET', '/api/v1/tagger/content?path=top.txt', undef, headers => { 'X-Weft-Scope' => 'w:', 'X-Weft-Role' => 'admin' }))[0], 404, 'nor do those of a user');
is((shared({ secret => 'x' x 43 }))[1]{error}{code}, 'link_ended', 'a made up one leads nowhere');
is((shared({ secret => 'x' x 43 }, '/folder'))[0], 404, 'by no route');
is((shared({ secret => $link->{id} }, '/folder'))[0], 404, 'nor does its number');
is(($who{guest}->api('DELETE', "/shares/$link->{id}"))[0], 401, 'a visitor does not end it');
is(status('bob', 'DELETE', "/shares/$link->{id}"), 200, 'he ends it');
is((shared($link, $_))[1]{error}{code}, 'link_ended', "then it is refused: $_") for '', '/folder', '/content?path=open%20(2)/harbour.txt';
my $soon = said('bob', 'POST', '/shares', { path => 'home/bob/gift.txt', days => 1 });
is((shared($soon, '/content?path=gift.txt'))[0], 200, 'another one leads there');
said('bob', 'DELETE', '/tagger/file?path=home/bob/gift.txt');
is((shared($soon))[1]{error}{code}, 'link_ended', 'until its file is deleted');

# ---- a stream of changes ends with the right to hear them
sub stream
{
	my ($name) = @_;
	my $pid = fork() // die;
	if ($pid == 0) {
		open(STDOUT, '>', "$dir/stream") or die;
		exec('curl', '-sN', '--max-time', 100, '-H', "Cookie: $who{$name}{cookie}", "$base/api/v1/tagger/events");
	}
	at_end(sub { kill('KILL', $pid) if $pid });
	wait_until('the stream', 60, sub { -s "$dir/stream" });
	return sub {
		wait_until('the end of the stream', 60, sub { waitpid($pid, POSIX::WNOHANG()) == $pid });
		$pid = 0;
		return $? >> 8;
	};
}
my $shared = said('bob', 'POST', '/shares', { path => 'home/bob/open', person => 'uma' });
my $end = stream('uma');
said('bob', 'POST', '/tagger/mkdir?path=home/bob/open/told');
wait_until('an event', 60, sub { slurp("$dir/stream") =~ /told/ });
said('bob', 'DELETE', "/shares/$shared->{id}");
isnt($end->(), 28, 'a stream of changes ends with the share that it told of');
$end = stream('uma');
said('uma', 'POST', '/logout');
isnt($end->(), 28, 'and when who listened has logged out');

# ---- events, restart, the end of a person
my @events = map { $_->{what} } @{ said('alice', 'GET', '/events?limit=200')->{events} };
for my $what (qw(space.added space.removed share.added share.removed share.left share.opened file.restored)) {
	ok((grep { $_ eq $what } @events), "it is noted: $what");
}
log_in('uma');
my @hers = @{ said('uma', 'GET', '/events?limit=200')->{events} };
ok(!(grep { $_->{who} ne 'uma' && $_->{what} =~ /^(?:file|folder|bin|share|space)\./ } @hers), 'who sees no file of others is told no event of it');
daemon_stop($volmgr);
$base = start();
$who{$_}{base} = $base for keys %who;
log_in($_) for qw(alice bob uma);
$who{guest} = Weft::HTTP->new($base);
my @given = shares('bob', 'given');
is(scalar(@given), 3, 'shares outlive a restart') or diag(json_encode(\@given));
unlike(found('uma'), qr/top.txt/, 'so does the setting');
open(my $meta, '-|', 'grep', '-rlF', '-e', $file->{secret}, "$dir/meta") or die;
is(join('', <$meta>), '', 'what is in the metadata opens no link');
is(status('alice', 'DELETE', '/people/bob'), 200, 'somebody is removed');
is(scalar(shares('uma', 'received')), 0, 'with what he has shared');
is((shared($file))[0], 404, 'and his links');
is(status('alice', 'GET', '/tagger/folder?path=home/bob'), 200, 'his files stay');
$tagger->stop();
done_testing();
