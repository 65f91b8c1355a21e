#!/usr/bin/perl
# Who may do what over TCP: log in, sessions and their CSRF token, tokens of scripts, roles, invitations,
# registration, wrong guesses, HTTPS. No server and no volume is needed for that.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IO::Socket::INET;
use Test::More;
use Weft;
use Weft::HTTP;

need(qw(volmgr volctl));
my $dir = temp_dir();
my $secret = "$dir/secret";
run_ok(program('volctl'), 'cluster', 'init', '--secret', $secret);

my $volmgr;

sub start
{
	my (@more) = @_;
	$volmgr = daemon_start(name => 'volmgr', log => "$dir/volmgr.log", argv => [ program('volmgr'), '--dir',
		"$dir/meta", '--secret', $secret, '--listen', "unix:$dir/nbd", '--socket', "$dir/sock", '--http',
		'tcp:127.0.0.1:0', '--www', build_dir() . '/www/page', @more ]);
	return 'http://' . ($volmgr->{http} =~ s/\Atcp://r);
}

sub local_api { return http_local("$dir/sock", @_) }

# What quickstart shows whoever started it.
sub quickstart_link
{
	my ($invite) = slurp(src_dir() . '/quickstart') =~ /^(invite\(\) \{.*?^\})/ms or die 'quickstart has no invite()';
	my $volctl = program('volctl');
	return run_ok('sh', '-c', "volctl() { '$volctl' --socket '$dir/sock' \"\$\@\"; }\n$invite\ninvite");
}

sub code { return ref $_[0] eq 'HASH' ? $_[0]{error}{code} // '' : '' }

sub refused
{
	my ($who, $status, $code, $name, @request) = @_;
	my ($got, $said) = $who->api(@request);
	ok($got == $status && code($said) eq $code, $name) or diag("$got " . json_encode($said));
	return;
}

my $base = start();
at_end(sub { daemon_stop($volmgr) if $volmgr });
my $page = sub { Weft::HTTP->new($base) };
my $guest = $page->();

# ---- nobody yet ----------------------------------------------------------------------------------
my ($status, $said) = $guest->api('GET', '/me');
ok($status == 200 && $said->{empty} && $said->{name} eq '' && $said->{role} eq 'none', 'a guest is nobody');
refused($guest, 401, 'not_logged_in', "a guest may not: @$_", @$_)
    for [ GET => '/status' ], [ GET => '/volumes' ], [ GET => '/events' ], [ GET => '/people' ],
    [ POST => '/people', {} ], [ PATCH => '/settings', {} ], [ POST => '/tokens', {} ], [ DELETE => '/volumes/v' ];
refused($guest, 403, 'registration_off', 'nobody can register', 'POST', '/register',
	{ name => 'eve', password => 'long enough' });

# ---- the first admin: a link -----------------------------------------------------------------------
my $link = quickstart_link();
like($link, qr{\A\Q$base\E/#/join/[\w-]{43}\n\z}, 'quickstart prints a link');
my ($invitation) = $link =~ m{/([\w-]+)\n};
my $alice = $page->();
refused($alice, 403, 'bad_invitation', 'another invitation is refused', 'POST', '/join',
	{ name => 'alice', password => 'long enough', invitation => 'x' x 43 });
refused($alice, 400, 'bad_password', 'a short password is refused', 'POST', '/join',
	{ name => 'alice', password => 'short', invitation => $invitation });
refused($alice, 400, 'bad_name', 'a bad name is refused', 'POST', '/join',
	{ name => 'a/b', password => 'long enough', invitation => $invitation });
($status, $said) = $alice->login({ name => 'alice', password => 'alice is long', invitation => $invitation }, '/join');
ok($status == 201 && $said->{role} eq 'admin', 'the link makes an admin') or diag(json_encode($said));
is(quickstart_link(), '', 'and quickstart prints none from then on');
refused($page->(), 403, 'bad_invitation', 'it works once', 'POST', '/join',
	{ name => 'bob', password => 'long enough', invitation => $invitation });
($status, $said) = $alice->api('GET', '/me');
ok($said->{name} eq 'alice' && $said->{csrf} eq $alice->{csrf}, 'the session knows her');
is(($alice->api('GET', '/status'))[0], 200, 'she may look');

# ---- a session's rules ----------------------------------------------------------------------------------
my (undef, undef, $headers) = $page->()->api('POST', '/login', { name => 'alice', password => 'alice is long' });
like($headers->{'set-cookie'}, qr/\Aweft_session=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=\d+\z/,
	'the cookie is for the server alone, and this site only');
refused($alice, 403, 'bad_csrf_token', 'a change without the CSRF token is refused', 'POST', '/invitations', {},
	headers => { 'X-Weft-CSRF' => undef });
refused($alice, 403, 'bad_csrf_token', 'with a wrong one too', 'POST', '/invitations', {},
	headers => { 'X-Weft-CSRF' => '0' x 64 });
refused($alice, 415, 'bad_type', 'a form of another page is refused', 'POST', '/invitations', 'role=admin',
	type => 'text/plain');
{
	my $thief = $page->();
	$thief->{cookie} = 'weft_session=' . 'x' x 43;
	refused($thief, 401, 'not_logged_in', 'a made up session is nobody', 'GET', '/status');
	$thief->{cookie} = 'weft_session=' . 'x' x 4000;
	refused($thief, 401, 'not_logged_in', 'so is a long one', 'GET', '/status');
}

# ---- roles ---------------------------------------------------------------------------------------------------
for my $p ([ 'uma', 'user' ], [ 'rob', 'read-only' ]) {
	($status) = $alice->api('POST', '/people', { name => $p->[0], role => $p->[1], password => "$p->[0] is long" });
	is($status, 201, "the admin adds $p->[0]");
}
refused($alice, 409, 'name_taken', 'a name twice is refused', 'POST', '/people',
	{ name => 'uma', password => 'long enough' });
refused($alice, 400, 'bad_role', 'an unknown role is refused', 'POST', '/people',
	{ name => 'x', role => 'root', password => 'long enough' });
my ($uma, $rob) = ($page->(), $page->());
is(($uma->login({ name => 'uma', password => 'uma is long' }))[1]{role}, 'user', 'a user logs in');
is(($rob->login({ name => 'rob', password => 'rob is long' }))[1]{role}, 'read-only', 'a reader logs in');
for my $who ($uma, $rob) {
	is(($who->api('GET', '/status'))[0], 200, 'may look');
	refused($who, 403, 'not_allowed', "may not: @$_[0 .. 1]", @$_)
	    for [ POST => '/volumes', { name => 'v', size => 4096 } ], [ DELETE => '/servers/x' ], [ GET => '/people' ],
	    [ PATCH => '/people/alice', { role => 'user' } ], [ PATCH => '/settings', { guests => JSON::PP::true() } ],
	    [ POST => '/invitations', {} ];
}
refused($alice, 409, 'last_admin', 'the last admin stays admin', 'PATCH', '/people/alice', { role => 'user' });
refused($alice, 409, 'last_admin', 'and stays', 'DELETE', '/people/alice');
is(($alice->api('PATCH', '/people/rob', { role => 'user' }))[1]{role}, 'user', 'a role is changed');
is(($rob->api('GET', '/me'))[1]{role}, 'user', 'which counts at once');
is(($alice->api('DELETE', '/people/rob'))[0], 200, 'a person is removed');
refused($rob, 401, 'not_logged_in', 'with the session', 'GET', '/status');

# ---- tokens ---------------------------------------------------------------------------------------------------
($status, $said) = $uma->api('POST', '/tokens', { label => 'backup', role => 'admin' });
is($said->{role}, 'user', 'a token gives no more than its owner has');
my $script = $page->();
$script->{headers} = { Authorization => "Bearer $said->{secret}" };
is(($script->api('GET', '/status'))[0], 200, 'a script may look with it');
($status, $said) = $uma->api('GET', '/tokens');
ok(@{ $said->{tokens} } == 1 && !defined $said->{tokens}[0]{secret}, 'the list does not show its secret');
refused($alice, 404, 'no_such_ticket', 'nobody else removes it', 'DELETE', "/tokens/$said->{tokens}[0]{id}");
is(($uma->api('DELETE', "/tokens/$said->{tokens}[0]{id}"))[0], 200, 'its owner does');
refused($script, 401, 'bad_token', 'then it is worth nothing', 'GET', '/status');
($status, $said) = $uma->api('POST', '/tokens', { label => 'short', role => 'user', days => 1 });
$script->{headers} = { Authorization => "Bearer $said->{secret}" };
my $ends = $said->{expires};
($status, $said) = $script->api('POST', '/tokens', { label => 'long', role => 'user', days => 3000 });
cmp_ok($said->{expires}, '<=', $ends + 1, 'a token that is made with a token ends with it');
my ($made) = grep { $_->{label} eq 'long' } @{ ($uma->api('GET', '/tokens'))[1]{tokens} };
cmp_ok($made->{expires}, '<=', $ends + 1, 'as is noted');
$uma->api('DELETE', "/tokens/$_->{id}") for @{ ($uma->api('GET', '/tokens'))[1]{tokens} };

# ---- passwords -------------------------------------------------------------------------------------------------
my $other = $page->();
$other->login({ name => 'uma', password => 'uma is long' });
refused($uma, 401, 'wrong_password', 'the old password must be right', 'POST', '/password',
	{ old => 'wrong wrong', new => 'uma is longer' });
is(($uma->api('POST', '/password', { old => 'uma is long', new => 'uma is longer' }))[0], 200, 'she changes it');
is(($uma->api('GET', '/status'))[0], 200, 'her session goes on');
refused($other, 401, 'not_logged_in', 'the other one ends', 'GET', '/status');
is(($uma->api('POST', '/logout'))[0], 200, 'she logs out');
refused($uma, 401, 'not_logged_in', 'and is out', 'GET', '/status');
run_ok({ stdin => "uma has another\n" }, program('volctl'), '--socket', "$dir/sock", 'user', 'passwd', 'uma');
is(($page->()->login({ name => 'uma', password => 'uma has another' }))[0], 200, 'volctl sets a new one');

# ---- registration ------------------------------------------------------------------------------------------------
is(($alice->api('PATCH', '/settings', { registration => 'approval' }))[0], 200, 'registration is switched on');
my $eve = $page->();
($status, $said) = $eve->api('POST', '/register', { name => 'eve', password => 'eve is long' });
ok($status == 202 && $said->{waiting}, 'who registers waits');
refused($eve, 403, 'waiting_for_approval', 'and cannot log in', 'POST', '/login',
	{ name => 'eve', password => 'eve is long' });
like(run_ok(program('volctl'), '--socket', "$dir/sock", 'user', 'list'), qr/^eve +user +waits for approval/m,
	'volctl shows it');
is(($alice->api('PATCH', '/people/eve', { waiting => JSON::PP::false() }))[0], 200, 'an admin approves');
is(($eve->login({ name => 'eve', password => 'eve is long' }))[0], 200, 'then she is in');
is(($alice->api('PATCH', '/settings', { guests => JSON::PP::true() }))[0], 200, 'guests are let in');
is(($guest->api('GET', '/status'))[0], 200, 'they may look');
refused($guest, 401, 'not_logged_in', 'and nothing else', 'POST', '/volumes', { name => 'v', size => 4096 });
$alice->api('PATCH', '/settings', { guests => JSON::PP::false() });

# ---- what happened --------------------------------------------------------------------------------------------------
($status, $said) = $alice->api('GET', '/events?limit=200');
my %seen = map { $_->{what} => $_ } @{ $said->{events} };
ok($seen{$_}, "there is an event $_") for qw(volmgr.started person.registered person.added person.role person.removed
	token.added login login.failed settings.changed invitation.added);
is($seen{'person.removed'}{who}, 'alice', 'with who did it');
is($seen{'person.removed'}{object}, 'rob', 'to whom');
($status, $said) = $alice->api('GET', '/events?limit=2');
my ($more) = ($alice->api('GET', "/events?limit=2&before=$said->{before}"))[1];
is($more->{events}[0]{number}, $said->{events}[1]{number} - 1, 'events come in pages');
sub searched { return [ map { "$_->{what} $_->{object}" } @{ ($alice->api('GET', "/events?limit=200&$_[0]"))[1]{events} } ] }
is_deeply(searched('q=ROB%20removed'), ['person.removed rob'], 'they are searched by words, all of which have to be found');
is_deeply(searched('q=rob%20gone|person.removed|token.removed'), ['person.removed rob'], 'or to be known by what was done');
is_deeply(searched('q=nonsense'), [], 'which finds nothing where there is nothing');
is(scalar(grep { !/^(?:login|person|session|token)/ } @{ searched('who=eve') }), 0, 'and by who did it');
ok(@{ searched('who=eve') } > 0, 'of whom there is something');
$said = ($alice->api('GET', '/events?limit=1&q=person.'))[1];
$more = ($alice->api('GET', "/events?limit=1&q=person.&before=$said->{before}"))[1];
ok($more->{events}[0]{number} < $said->{events}[0]{number} && $more->{events}[0]{what} =~ /^person/, 'in pages, too');
refused($alice, 400, 'bad_request', 'too many words', 'GET', '/events?q=' . join('%20', 1 .. 9));
is(($alice->api('GET', '/events?q=' . '%20' x 50 . '|||%20%20|'))[0], 200, 'and nothing is searched for well');

# ---- after a restart; over HTTPS --------------------------------------------------------------------------------------
daemon_stop($volmgr);
my $meta = join('', map { slurp($_) } glob("$dir/meta/*.log"), glob("$dir/meta/*.ldb"));
my ($cookie) = $alice->{cookie} =~ /=(.*)/;
ok(length $meta > 0 && index($meta, $cookie) < 0 && index($meta, 'alice is long') < 0,
	'neither passwords nor sessions are in the metadata');
$base = start();
$alice->{base} = $base;
is(($alice->api('GET', '/me'))[1]{name}, 'alice', 'a session survives a restart');
# ---- for whom a proxy on this machine asks
sub guess { my ($for, $password) = @_; return $page->()->api('POST', '/login', { name => 'eve', password => $password // 'wrong wrong' }, headers => { 'X-Forwarded-For' => $for }) }
for (1 .. 15) {
	($status) = guess('192.0.2.7');
	last if $status == 429;
}
is($status, 429, 'guesses behind a proxy are counted');
is((guess("192.0.2.$_"))[0], 401, 'each address by itself') for 8, 9;
sub noted { my ($what) = @_; return (grep { $_->{what} eq $what } @{ ($alice->api('GET', '/events'))[1]{events} })[0]{detail} }
guess([ '192.0.2.8', '10.0.0.1, 192.0.2.21' ]);
is(noted('login.failed'), 'from 192.0.2.21', 'by what the proxy has said last');
is((guess('192.0.2.8', 'eve is long'))[0], 200, 'and others get in');
is(noted('login'), 'from 192.0.2.8', 'which is an event of that address');
my (undef, undef, $proxied) = $page->()->api('POST', '/login', { name => 'eve', password => 'eve is long' }, headers => { 'X-Forwarded-Proto' => 'https' });
like($proxied->{'set-cookie'}, qr/\A__Host-weft_session=.*; Secure\z/, 'the cookie is for HTTPS only, when the proxy speaks that');
guess('nonsense', 'eve is long');
is(noted('login'), 'from 127.0.0.1', 'what is no address is not taken for one');

is(($page->()->login({ name => 'uma', password => 'wrong wrong' }))[0], 401, 'a wrong password is refused') for 1 .. 5;
# each further one doubles the wait, so that it is met on a slow machine, too
for (1 .. 10) {
	($status) = $page->()->login({ name => 'uma', password => 'wrong wrong' });
	last if $status == 429;
}
($status, $said) = $page->()->login({ name => 'uma', password => 'uma has another' }) if $status == 429;
ok($status == 429 && $said->{error}{message} =~ /wait \d+ s/, 'after five wrong ones, one has to wait');
# she herself, from elsewhere
(my $elsewhere = $base) =~ s{\Ahttp://}{};
my $s = IO::Socket::INET->new(PeerAddr => $elsewhere, LocalAddr => '127.0.0.2') or die "127.0.0.2: $!";
my $login = '{"name":"uma","password":"uma has another"}';
print $s "POST /api/v1/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: " . length($login) . "\r\n\r\n$login";
like(do { local $/; <$s> }, qr/\AHTTP\S+ 200 /, 'and not she who has that name, when she comes from elsewhere');
daemon_stop($volmgr);
SKIP: {
	skip('openssl or curl is not here', 4) if !tool('openssl') || !tool('curl');
	run_ok(tool('openssl'), qw(req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj
		/CN=localhost -keyout), "$dir/key.pem", '-out', "$dir/cert.pem");
	$base = start('--tls-cert', "$dir/cert.pem", '--tls-key', "$dir/key.pem");
	(my $port = $base) =~ s/.*://;
	my @curl = (tool('curl'), '-sS', '--noproxy', '*', '--cacert', "$dir/cert.pem", '--resolve', "localhost:$port:127.0.0.1");
	like(run_ok(@curl, "https://localhost:$port/api/v1/me"), qr/"role":"none"/, 'it speaks HTTPS');
	my $got = run_ok(@curl, '-i', '-H', 'Content-Type: application/json', '-d',
		json_encode({ name => 'alice', password => 'alice is long' }), "https://localhost:$port/api/v1/login");
	like($got, qr/^Set-Cookie: __Host-weft_session=.*; Secure\r?$/mi, 'the cookie is for HTTPS only');
	isnt(run(tool('curl'), '-s', '--noproxy', '*', "http://127.0.0.1:$port/")->{status}, 0, 'and nothing else');
	rename("$dir/cert.pem", "$dir/old.pem") or die $!;
	run_ok(tool('openssl'), qw(req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj
		/CN=localhost/O=renewed -keyout), "$dir/key.pem", '-out', "$dir/cert.pem");
	like(run_ok(@curl, "https://localhost:$port/api/v1/me"), qr/"role":"none"/, 'a renewed certificate is taken');
	daemon_stop($volmgr);
}
undef $volmgr;
done_testing();
