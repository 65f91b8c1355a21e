# A tagger for tests: starts one on a folder, asks its API, waits until it has done what there is to do.
package Weft::Tagger;

use strict;
use warnings;

use Weft;

# Options: dir (the tree), base (a folder of ours beside it), args.
sub new
{
	my ($class, %opt) = @_;
	my $self = bless({ args => [], %opt }, $class);
	$self->start();
	return $self;
}

sub argv
{
	my ($self) = @_;
	return (program('tagger'), '--index', "$self->{base}/index", '--workers-dir', build_dir() . '/tagger/worker',
		@{ $self->{args} });
}

sub start
{
	my ($self) = @_;
	$self->{daemon} = daemon_start(name => 'tagger', log => "$self->{base}/log", positional => [ $self->{dir} ],
		argv => [ $self->argv(), '--socket', "$self->{base}/sock" ]);
	return;
}

sub stop
{
	my ($self, $signal) = @_;
	daemon_stop($self->{daemon}, $signal // 'TERM');
	my ($said) = slurp("$self->{base}/log") =~ /^(.*(?:Sanitizer|runtime error|[Aa]ssertion).*)$/ms;
	die "tagger said: $said\n" if defined $said;
	return;
}

sub escape { return $_[0] =~ s/([^A-Za-z0-9._~-])/sprintf('%%%02X', ord($1))/ger }

# $tagger->call('GET', '/search', { q => 'x' }, body) => { code, body, headers }
sub call
{
	my ($self, $method, $path, $query, $body, @more) = @_;
	my $url = "http://tagger$path" . join('', map { ($_ eq (sort keys %$query)[0] ? '?' : '&') . "$_="
		. escape($query->{$_}) } sort keys %{ $query // {} });
	my @argv = ('curl', '-s', '--unix-socket', "$self->{base}/sock", '-X', $method, '-D', "$self->{base}/headers",
		'-o', "$self->{base}/body", '-w', '%{http_code}', @more);
	@argv = ('curl', '-s', '--unix-socket', "$self->{base}/sock", '-I', '-D', "$self->{base}/headers", '-o', "$self->{base}/body",
		'-w', '%{http_code}') if $method eq 'HEAD';
	if (defined $body) {
		spew("$self->{base}/send", $body);
		push @argv, '-H', 'Content-Type: application/octet-stream', '--data-binary', "\@$self->{base}/send";
	}
	unlink("$self->{base}/body");
	my $got = run(@argv, $url);
	return { code => $got->{out}, headers => eval { slurp("$self->{base}/headers") } // '',
		body => eval { slurp("$self->{base}/body") } // '' };
}

# As call(), and the answer as data; dies when it is refused.
sub ask
{
	my ($self, $method, $path, $query, $body) = @_;
	my $got = $self->call($method, $path, $query, defined $body ? json_encode($body) : undef);
	die "$method $path was answered with $got->{code}: $got->{body}\n" if $got->{code} !~ /\A2/;
	return json_decode($got->{body});
}

sub get { my ($self, $path, %query) = @_; return $self->ask('GET', $path, \%query) }

# Paths that a search finds.
sub found
{
	my ($self, $q, %more) = @_;
	return [ sort map { $_->{path} } @{ $self->get('/search', q => $q, limit => 1000, %more)->{files} } ];
}

sub wait_for
{
	my ($self, $what, $fn, $timeout) = @_;
	return wait_until($what, $timeout // 60, sub { eval { $fn->() } });
}

sub wait_idle
{
	my ($self, $timeout) = @_;
	return $self->wait_for('an idle tagger', sub {
		my $s = $self->get('/status');
		return $s->{idle} ? $s : undef;
	}, $timeout);
}

sub tags
{
	my ($self, $path) = @_;
	return { map { $_->{tag} => $_ } @{ $self->get('/file', path => $path)->{tags} } };
}

1;
