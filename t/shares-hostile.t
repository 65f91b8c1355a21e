#!/usr/bin/perl
# Somebody with a space of his own, and shares, who tries to get at what is not his: by links in the tree, by odd
# paths and requests, by moving, deleting and putting back, and by taking all there is of something.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Path qw(make_path);
use IO::Select;
use IO::Socket::INET;
use Test::More;
use Weft;
use Weft::HTTP;
use Weft::Tagger;

need(qw(volmgr volctl tagger curl));
my $dir = temp_dir();
my $tree = "$dir/tree";
my $secret = 'Zanzibar contraband under a lighthouse. ' x 8;
make_path("$tree/home/uma/deep", "$tree/home/bob/private", "$tree/home/umax", "$tree/team/hers");
spew("$tree/home/bob/private/harbour.txt", $secret);
spew("$tree/home/bob/offer.txt", 'An offer of boats. ' x 8);
spew("$tree/home/uma/diary.txt", 'My diary. ' x 8);
symlink('../bob/private', "$tree/home/uma/way") or die;
symlink('../bob/private/harbour.txt', "$tree/home/uma/file") or die;
symlink($dir, "$tree/home/uma/out") or die;
my $tagger = Weft::Tagger->new(dir => $tree, base => $dir);
$tagger->wait_idle();
run_ok(program('volctl'), 'cluster', 'init', '--secret', "$dir/secret");
my $volmgr = daemon_start(name => 'volmgr', log => "$dir/volmgr.log", argv => [ program('volmgr'), '--dir', "$dir/meta", '--secret', "$dir/secret",
	'--listen', "unix:$dir/nbd", '--socket', "$dir/vsock", '--http', 'tcp:127.0.0.1:0', '--tagger', "$dir/sock" ]);
my ($host, $port) = $volmgr->{http} =~ /\Atcp:(.*):(\d+)\z/ or die;
my %who;

sub log_in { my ($name) = @_; $who{$name} = Weft::HTTP->new("http://$host:$port"); $who{$name}->login({ name => $name, password => "$name is long" }); return }
run_ok({ stdin => "alice is long\n" }, program('volctl'), '--socket', "$dir/vsock", 'user', 'add', 'alice', '--role', 'admin');
log_in('alice');
for my $name (qw(bob uma eve)) {
	$who{alice}->api('POST', '/people', { name => $name, role => 'user', password => "$name is long" });
	log_in($name);
}
$who{guest} = Weft::HTTP->new("http://$host:$port");

sub api { my ($name, @request) = @_; return $who{$name}->api(@request) }
sub answer
{
	my ($s) = @_;
	my $got = '';
	IO::Select->new($s)->can_read(60) && sysread($s, $got, 4096);
	return $got =~ m{\AHTTP/1.1 (\d+)} ? $1 : 'none';
}
sub status { return (api(@_))[0] }
sub said { my ($status, $said) = api(@_); die "@_: $status " . (ref $said ? json_encode($said) : $said) . "\n" if $status >= 300; return $said }
sub true { return JSON::PP::true() }
sub esc { return Weft::Tagger::escape($_[0]) }
sub content { my ($name, $path) = @_; my ($status, $said) = api($name, 'GET', '/tagger/content?path=' . esc($path)); return $status == 200 ? $said : $status }
sub put { my ($name, $path, $text, $more) = @_; return status($name, 'PUT', '/tagger/upload?path=' . esc($path) . ($more // ''), $text, type => 'application/octet-stream') }
sub known { my ($path) = @_; $tagger->wait_for($path, sub { $tagger->get('/file', path => $path) }); return $path }
sub outside { return join("\n", grep { !m{^\Q$tree\E/(?:home/uma|\.weft)(?:/|$)} } split(/\n/, run_ok('find', $tree))) }
said('alice', 'PATCH', '/settings', { spaces => true() });

# ---- links in the tree, and odd paths
my $before = outside();
for my $path (qw(home/uma/way/harbour.txt home/uma/file home/uma/out/secret), 'home/uma/../bob/private/harbour.txt', 'home/uma/deep/../../bob/offer.txt',
	'/home/bob/offer.txt', './home/bob/offer.txt', 'home//bob/offer.txt', "home/bob/offer.txt\0", 'home/umax') {
	my $shown = $path =~ s/\0/\\0/r;
	is(join(' ', map { status('uma', 'GET', "/tagger/$_=" . esc($path)) } 'content?path', 'thumbnail?path', 'sprite?path'), '404 404 404', "not looked at: $shown");
	is(status('uma', 'HEAD', '/tagger/content?path=' . esc($path)), 404, 'nor its head');
	is(($who{uma}->ask('GET', '/api/v1/tagger/content?path=' . esc($path), undef, headers => { Range => 'bytes=0-3' }))[0], 404, 'nor a part');
}
for my $path (qw(home/uma/way/new home/uma/out/new home/uma/../bob/new home/uma/../../new home/uma//../bob/new /home/bob/new home/bob/new home/umax/new .weft/bin/new),
	'home/uma/..', 'home/uma/.', 'home/uma/', 'home/uma/../bob', '') {
	my @got = (
		put('uma', $path, 'x'),
		status('uma', 'POST', '/tagger/mkdir?path=' . esc($path)),
		status('uma', 'POST', '/tagger/move?path=home/uma/diary.txt&to=' . esc($path)),
	);
	is(scalar(grep { !/\A4/ } @got), 0, "nothing is put to '$path'") or diag("@got");
}
is(outside(), $before, 'nor was any of it');
my (undef, $tar) = api('uma', 'GET', '/tagger/archive?path=home/uma');
ok($tar =~ /diary/ && $tar !~ /Zanzibar|harbour/, 'an archive follows no link');
is_deeply([ map { $_->{path} } @{ said('uma', 'GET', '/tagger/search?q=' . esc($_))->{files} } ], [], "nothing found: $_") for 'in:home/bob', 'in:home/umax', 'zanzibar';
is(json_encode([ api('uma', 'GET', '/tagger/search?q=in:home/bob/private') ]->[1]), json_encode([ api('uma', 'GET', '/tagger/search?q=in:home/bob/privatx') ]->[1]),
	'what is there is not told from what is not');

# ---- odd requests
sub raw
{
	my ($text) = @_;
	my $s = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port) or die;
	my ($got, $select) = ('', IO::Select->new($s));
	print $s $text =~ s/COOKIE/Cookie: $who{uma}{cookie}/r;
	while ($select->can_read(60)) {
		sysread($s, $got, 1 << 16, length $got) or return $got;
	}
	die "no end of the answer to $text\n";
}
my $get = 'GET /api/v1/tagger/content?path=home/bob/private/harbour.txt';
my $rest = "Host: x\r\nCOOKIE\r\nConnection: close\r\n";
for my $odd (
	[ 'a line end in the query', "$get&x=\rX-Weft-Scope: w:\r HTTP/1.1\r\n$rest\r\n" ],
	[ 'a version in it', "$get HTTP/1.0\r\rX-Weft-Scope: w:\r\r HTTP/1.1\r\n$rest\r\n" ],
	[ 'a header of its own', "$get HTTP/1.1\r\nX-Weft-Scope: w:\r\n$rest\r\n" ],
	[ 'one in another', "$get HTTP/1.1\r\nRange: bytes=0-9\rX-Weft-Scope: w:\r\n$rest\r\n" ],
	[ 'one that goes on', "$get HTTP/1.1\r\nRange: bytes=0-9\r\n X-Weft-Scope: w:\r\n$rest\r\n" ],
	[ 'a space before the colon', "$get HTTP/1.1\r\nX-Weft-Scope : w:\r\nX-Weft-Base : \r\n$rest\r\n" ],
	[ 'a request in its body', "$get HTTP/1.1\r\n${rest}Content-Length: 60\r\n\r\nGET /content?path=home/bob/private/harbour.txt HTTP/1.0\r\n\r\n  " ],
	[ 'two paths', "$get&path=home/uma/diary.txt HTTP/1.1\r\n$rest\r\n" ],
	[ 'two paths, the other first', 'GET /api/v1/tagger/content?path=home/uma/diary.txt&path=home/bob/private/harbour.txt HTTP/1.1' . "\r\n$rest\r\n" ],
	[ 'a whole address', "GET http://x/api/v1/tagger/content?path=home/bob/private/harbour.txt HTTP/1.1\r\n$rest\r\n" ],
	[ 'slashes', "GET //api/v1/tagger/content?path=home/bob/private/harbour.txt HTTP/1.1\r\n$rest\r\n" ],
) {
	unlike(raw($odd->[1]), qr/Zanzibar|\AHTTP\S+ 5/, "refused: $odd->[0]");
}

# ---- who looks on while he is removed
my $watching = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port) or die;
print $watching "GET /api/v1/live HTTP/1.1\r\nHost: x\r\nCookie: $who{eve}{cookie}\r\nConnection: close\r\n\r\n";
is(answer($watching), 200, 'somebody looks at the overview');
said('alice', 'DELETE', '/people/eve');

# ---- what lies in the bin: not what else was deleted there
my $link = said('bob', 'POST', '/shares', { path => 'home/bob/offer.txt' });
sub behind { my ($rest) = @_; return (api('guest', 'GET', "/shared/$link->{secret}$rest"))[1] }
my $offer = behind('/content?path=offer.txt');
like($offer, qr/An offer/, 'a link leads to its file');
my $first = said('bob', 'DELETE', '/tagger/file?path=home/bob/offer.txt')->{bin};
is(put('bob', 'home/bob/offer.txt', 'what nobody is to see'), 200, 'there is another of its name');
known('home/bob/offer.txt');
my $second = said('bob', 'DELETE', '/tagger/file?path=home/bob/offer.txt')->{bin};
said('bob', 'POST', "/tagger/bin/restore?id=$second");
known('home/bob/offer.txt');
is(ref(behind('')) && behind('')->{error}{code}, 'link_ended', 'that one being put back, the link stays where its file is');
said('bob', 'DELETE', '/tagger/file?path=home/bob/offer.txt&forever=1');
said('bob', 'POST', "/tagger/bin/restore?id=$first");
known('home/bob/offer.txt');
is(behind('/content?path=offer.txt'), $offer, 'and comes back with it');
said('bob', 'DELETE', '/tagger/file?path=home/bob/offer.txt&forever=1');
is(put('bob', 'home/bob/offer.txt', 'what nobody is to see'), 200, 'when that is gone for good');
known('home/bob/offer.txt');
my $third = said('bob', 'DELETE', '/tagger/file?path=home/bob/offer.txt')->{bin};
said('bob', 'POST', "/tagger/bin/restore?id=$third");
known('home/bob/offer.txt');
is(behind('')->{error}{code}, 'link_ended', 'the link is, too');

# ---- moved to where no answer can tell
my $deep = 'home/bob';
for (1 .. 11) {
	$deep .= '/' . 'd' x 200;
	said('bob', 'POST', "/tagger/mkdir?path=$deep");
	known($deep);
}
said('bob', 'POST', '/tagger/mkdir?path=home/bob/trip');
said('bob', 'POST', '/shares', { path => known('home/bob/trip'), person => 'uma' });
said('bob', 'POST', "/tagger/move?path=home/bob/trip&to=$deep/trip");
said('bob', 'POST', '/tagger/mkdir?path=home/bob/trip');
is(put('bob', 'home/bob/trip/new.txt', 'what she is not to see'), 200, 'what comes in place of a shared folder that was moved away');
known('home/bob/trip/new.txt');
is(content('uma', 'home/bob/trip/new.txt'), 404, 'is not shared');

# ---- an upload that was begun in time
sub begin_upload
{
	my ($path) = @_;
	my $s = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port) or die;
	print $s "PUT /api/v1/tagger/upload?path=$path HTTP/1.1\r\nHost: x\r\nCookie: $who{uma}{cookie}\r\n"
	    . "X-Weft-CSRF: $who{uma}{csrf}\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhalf ";
	return $s;
}

# ---- a space that its owner carries into a share
my $late = said('bob', 'POST', '/shares', { path => known('home/bob/trip'), person => 'uma', write => true() });
my ($theirs, $hers) = map { begin_upload($_) } 'home/bob/trip/late.txt', 'home/uma/own.txt';
said('bob', 'DELETE', "/shares/$late->{id}");
my $space = said('alice', 'POST', '/spaces', { path => 'team', person => 'uma', write => true() });
my $inner = said('alice', 'POST', '/spaces', { path => 'team/hers', person => 'uma', write => true() });
my $share = said('bob', 'POST', '/shares', { path => 'home/bob/private', person => 'uma', write => true() });
is(status('uma', 'POST', '/tagger/move?path=team/hers&to=home/bob/private/hers'), 200, 'she puts a folder of hers into a share');
known('home/bob/private/hers');
said('bob', 'POST', '/tagger/mkdir?path=home/bob/private/papers');
is(put('bob', 'home/bob/private/papers/p.txt', 'his papers'), 200, 'he has papers in it');
known('home/bob/private/papers/p.txt');
status('uma', 'POST', '/tagger/move?path=home/bob/private/papers&to=home/bob/private/hers&replace=1');
$tagger->wait_idle();
like(join(' ', map { status('uma', 'POST', "/tagger/move?path=home/bob/private/$_/p.txt&to=home/uma/p.txt") } qw(papers hers)), qr/\A40[34] 40[34]\z/,
	'she cannot make them hers by it');
like(join(' ', map { status('uma', 'DELETE', "/tagger/file?path=home/bob/private/$_/p.txt&forever=1") } qw(papers hers)), qr/\A40[34] 40[34]\z/, 'nor delete them for good');
spew("$tree/team/flyer.txt", 'A flyer. ' x 8);
known('team/flyer.txt');
my $flyer = said('alice', 'POST', '/shares', { path => 'team/flyer.txt' });
is((api('guest', 'GET', "/shared/$flyer->{secret}/content?path=flyer.txt"))[0], 200, 'an admin has given a link to something of hers');
said('uma', 'POST', '/tagger/move?path=team/flyer.txt&to=team/leaf.txt');
is((api('guest', 'GET', "/shared/$flyer->{secret}/content?path=leaf.txt"))[0], 200, 'which goes along where it is hers');
said('uma', 'POST', '/tagger/move?path=team/leaf.txt&to=home/bob/private/flyer.txt');
is((api('guest', 'GET', "/shared/$flyer->{secret}"))[0], 404, 'and not into his');
said('bob', 'DELETE', "/shares/$share->{id}");
is_deeply([ map { content('uma', "home/bob/private/$_/p.txt") } qw(papers hers) ], [ 404, 404 ], 'and sees them no more than the share');
is(status('alice', 'POST', '/tagger/move?path=team&to=crew'), 200, 'when an admin moves a space');
known('crew');
is(status('uma', 'POST', '/tagger/mkdir?path=crew/boats'), 200, 'it goes along');

# ---- and what became of that upload
is(answer($theirs), 403, 'an upload ends with the right to it');
print $hers 'other';
is(answer($hers), 200, 'and another goes on');
is(content('uma', known('home/uma/own.txt')), 'half other', 'to its end');
ok(!-e "$tree/home/bob/trip/late.txt", 'nothing is there of the first');

# ---- a name that comes with files
said('alice', 'PATCH', '/settings', { registration => 'open' });
my ($status, $said) = Weft::HTTP->new("http://$host:$port")->login({ name => 'umax', password => 'umax is long' }, '/register');
is("$status $said->{error}{code}", '409 name_taken', 'who registers does not get the files of somebody who was there before');
my $invitation = said('alice', 'POST', '/invitations', { role => 'user' });
($status, $said) = Weft::HTTP->new("http://$host:$port")->login({ name => 'umax', password => 'umax is long', invitation => $invitation->{secret} }, '/join');
is("$status $said->{error}{code}", '409 name_taken', 'nor does who was invited');
($status, $said) = Weft::HTTP->new("http://$host:$port")->login({ name => 'ivy', password => 'ivy is long', invitation => $invitation->{secret} }, '/join');
is($status, 201, 'under another name one may');
is(status('alice', 'POST', '/people', { name => 'umax', role => 'user', password => 'umax is long' }), 201, 'and an admin may give it');

# ---- a share that is being given to somebody who is removed at that moment
kill('STOP', $tagger->{daemon}{pid});
my $giving = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port) or die;
my $body = json_encode({ path => 'home/bob/trip', person => 'umax' });
print $giving "POST /api/v1/shares HTTP/1.1\r\nHost: x\r\nCookie: $who{bob}{cookie}\r\nX-Weft-CSRF: $who{bob}{csrf}\r\n"
    . 'Content-Type: application/json' . "\r\nConnection: close\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
said('alice', 'GET', '/me');
said('alice', 'DELETE', '/people/umax');
kill('CONT', $tagger->{daemon}{pid});
isnt(answer($giving), 201, 'a share is not given to who was removed meanwhile');
said('alice', 'POST', '/people', { name => 'umax', role => 'user', password => 'umax is long' });
log_in('umax');
is_deeply(said('umax', 'GET', '/shares')->{received}, [], 'nor to who comes under that name');

# ---- downloads that are under way when the right to them ends
open(my $big, '>', "$tree/home/uma/big.bin") or die $!;
truncate($big, 2 << 30) or die $!;
close($big);
known('home/uma/big.bin');
my ($id) = map { $_->{id} } grep { $_->{name} eq 'big.bin' } @{ said('uma', 'GET', '/tagger/folder?path=home/uma')->{files} };
my $there = Weft::HTTP->new("http://$host:$port"); # his other browser
$there->login({ name => 'bob', password => 'bob is long' });
my %share = map { $_ => said('uma', 'POST', '/shares', { path => 'home/uma/big.bin', person => $_ }) } qw(bob umax);
my $bigs = said('uma', 'POST', '/shares', { path => 'home/uma/big.bin' });
my (%taken, %over);
sub take
{
	my ($name, $path, $cookie) = @_;
	my $s = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port) or die;
	print $s "GET /api/v1$path HTTP/1.1\r\nHost: x\r\n" . ($cookie ? "Cookie: $cookie\r\n" : '') . "\r\n";
	is(answer($s), 200, "begun: $name");
	$s->blocking(0);
	$taken{$name} = $s;
	return;
}
# A little of each, no faster than somebody far away; those that have ended.
sub sip
{
	for my $name (grep { !$over{$_} } keys %taken) {
		my $n = sysread($taken{$name}, my $some, 1 << 20);
		$over{$name} = 1 if defined $n ? $n == 0 : !$!{EAGAIN};
	}
	return join(', ', sort keys %over);
}
take('its owner', '/tagger/content?path=home/uma/big.bin', $who{uma}{cookie});
take('a link', "/shared/$bigs->{secret}/content?path=big.bin");
take('a link to an archive', "/shared/$bigs->{secret}/archive?path=big.bin");
take('a session', "/tagger/content?id=$id", $there->{cookie});
take('somebody who has to be approved of again', '/tagger/content?path=home/uma/big.bin', $who{umax}{cookie});
$there->api('POST', '/logout');
said('uma', 'DELETE', "/shares/$bigs->{id}");
said('alice', 'PATCH', '/people/umax', { waiting => true() });
my $cut = 'a link, a link to an archive, a session, somebody who has to be approved of again';
ok(eval { wait_until('the ends', 90, sub { sip() eq $cut }) }, 'they are cut when a link, a session or an account ends') or diag(sip());
take('an archive', '/tagger/archive?path=home/uma/big.bin', $who{bob}{cookie});
take('a share', '/tagger/content?path=home/uma/big.bin', $who{bob}{cookie});
take('a share, by number', "/tagger/content?id=$id", $who{bob}{cookie});
said('uma', 'DELETE', "/shares/$share{bob}{id}");
ok(eval { wait_until('the ends', 90, sub { sip(); keys %over == 7 }) }, 'and when a share does') or diag(sip());
ok(!$over{'its owner'}, 'and nobody else is');
said('alice', 'PATCH', '/people/umax', { waiting => JSON::PP::false() });
log_in('umax');
close($_) for values %taken;

# ---- taking all
my @held;
sub hold
{
	my ($name, $request) = @_;
	my $s = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port) or die;
	print $s "$request HTTP/1.1\r\nHost: x\r\nCookie: $who{$name}{cookie}\r\nX-Weft-CSRF: $who{$name}{csrf}\r\n"
	    . ($request =~ /\APUT/ ? "Content-Length: 1000000\r\n" : '') . "\r\n" . ($request =~ /\APUT/ ? 'x' : '');
	push @held, $s;
	return $s;
}
my %got;
$got{ answer(hold('uma', 'GET /api/v1/tagger/events')) }++ for 1 .. 70;
is_deeply([ sort keys %got ], [ 200, 503 ], 'she listens to changes as often as one may');
is(answer(hold('bob', 'GET /api/v1/tagger/events')), 200, 'and others still can');
close($_) for splice(@held);
wait_until('room', 60, sub { status('uma', 'GET', '/tagger/file?path=home/uma/big.bin') == 200 });
%got = ();
$got{ answer(hold('uma', 'GET /api/v1/tagger/content?path=home/uma/big.bin')) }++ for 1 .. 70;
cmp_ok($got{503} // 0, '>=', 70 - 64, 'she has as many files sent to her as one may');
is(status('bob', 'GET', '/tagger/folder?path=home/bob'), 200, 'and others have theirs');
close($_) for splice(@held);
wait_until('room', 60, sub { status('uma', 'GET', '/tagger/file?path=home/uma/big.bin') == 200 });
%got = ();
$got{ answer(hold('uma', 'GET /api/v1/live')) }++ for 1 .. 40;
is_deeply(\%got, { 200 => 32, 503 => 8 }, 'nor does she take all streams of the overview');
hold('uma', "PUT /api/v1/tagger/upload?path=home/uma/up-$_") for 1 .. 16;
wait_until('a refused upload', 60, sub { grep { IO::Select->new($_)->can_read(0) } @held[ -16 .. -1 ] });
is(put('bob', 'home/bob/up', 'his', '&size=3&offset=0'), 200, 'who begins all uploads does not keep others from theirs');
close($_) for @held;
ok(wait_until('the end of the stream', 60, sub { IO::Select->new($watching)->can_read(0) && !sysread($watching, my $more, 1 << 20) }),
	'and does so no more when he is removed');

daemon_stop($volmgr);
$tagger->stop();
done_testing();
