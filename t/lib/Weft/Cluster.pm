# A whole cluster on this machine under one folder: N servers at shm: addresses (or TCP), a volmgr, a
# volume. Its settings, ports and process numbers are kept in that folder, so that a later command, or
# another test, can go on with it: stop, kill, start again, take down.
package Weft::Cluster;

use strict;
use warnings;

use File::Path qw(make_path remove_tree);
use Weft::HTTP;
use IO::Socket::INET;
use Weft;

use constant SOCKET_PATH_MAX => 107;
use constant SERVERS_MAX     => 256; # as in volmgr
use constant STORE_SIZE_MIN  => 1 << 30;

sub _file { return "$_[0]{dir}/$_[1]" }

sub _save
{
	my ($self) = @_;
	my %keep = map { $_ => $self->{$_} } grep { !/\A(?:dir|detach|daemon)\z/ } keys %$self;
	spew($self->_file('cluster.json'), json_encode(\%keep) . "\n");
	return;
}

# Makes the folder and remembers what is wanted; starts nothing. Options: dir, servers (6), ec ('4+2'),
# size ('1G'), volume ('vol'; '' for none), unit, store_size, tcp, usual_ports, threads, detach (daemons outlive us).
# By name of a server: host, address (where it listens), prefix (a list that goes before its command).
sub new
{
	my ($class, %opt) = @_;
	my ($k, $m) = ($opt{ec} // '4+2') =~ /\A([0-9]+)\+([0-9]+)\z/ or die "--ec is K+M, as in 4+2\n";
	my $self = bless {
		dir => $opt{dir}, detach => $opt{detach}, servers => $opt{servers} // $k + $m, k => $k + 0,
		m => $m + 0, size => parse_size($opt{size} // '1G'), volume => $opt{volume} // 'vol',
		unit => $opt{unit}, tcp => $opt{tcp} ? 1 : 0, threads => $opt{threads},
		args => $opt{args} // {}, address => $opt{address} // {}, pids => {}, program => {},
		host => $opt{host} // {}, prefix => $opt{prefix} // {},
	}, $class;
	die "--servers is 1 to " . SERVERS_MAX . "\n"
	    if $self->{servers} !~ /\A[0-9]+\z/ || !$self->{servers} || $self->{servers} > SERVERS_MAX;
	die "$self->{dir}: too long for the sockets in it, choose a shorter --dir\n"
	    if length($self->_file('server-999.sock')) > SOCKET_PATH_MAX;
	die "$self->{dir}: there is a cluster already; 't/cluster down' removes it\n"
	    if -e $self->_file('cluster.json');
	for my $name (qw(nbdsrv volmgr volctl)) {
		program($name) or die "$name is not built in " . build_dir() . ": run make, or set WEFT_BUILD\n";
	}
	$self->{store_size} = defined $opt{store_size} ? parse_size($opt{store_size}) : $self->_store_size;
	make_path($self->{dir});
	$self->_save;
	@{ $self->{address} }{qw(volmgr http)} = (usual(10809), usual(10880)) if $opt{usual_ports};
	return $self;
}

# This port on loopback when nobody has it, else one that the kernel chooses.
sub usual
{
	my ($port) = @_;
	my $free = IO::Socket::INET->new(LocalAddr => "127.0.0.1:$port", Listen => 1, ReuseAddr => 1);
	return "tcp:127.0.0.1:" . ($free ? $port : 0);
}

# One that is there already.
sub load
{
	my ($class, $dir, %opt) = @_;
	-e "$dir/cluster.json" or die "$dir: there is no cluster; 't/cluster up --dir $dir' makes one\n";
	return bless { %{ json_decode(slurp("$dir/cluster.json")) }, dir => $dir, %opt }, $class;
}

# Room for the volume with its parity, once more for what is written anew before the old is freed, the
# log and the map. Stores are sparse: nothing is used that is not written.
sub _store_size
{
	my ($self) = @_;
	my $share = $self->{size} * ($self->{k} + $self->{m}) / $self->{k} / $self->{servers};
	my $want = int($share * 1.5) + (512 << 20);
	$want = STORE_SIZE_MIN if $want < STORE_SIZE_MIN;
	return ($want + 0xfffff) & ~0xfffff;
}

sub server_names { return map { "server-$_" } 1 .. $_[0]{servers} }
sub names        { return ($_[0]->server_names, 'volmgr') }
sub secret       { return $_[0]->_file('secret') }
sub socket       { return $_[0]->_file('volmgr.sock') }
sub http         { return $_[0]{address}{http} }
sub log_file     { return $_[0]->_file("log/$_[1].log") }
sub store_dir   { return $_[0]->_file($_[1]) }
sub store_file   { return $_[0]->_file("$_[1]/store") }

sub uri
{
	my ($self, $volume) = @_;
	(my $address = $self->{address}{volmgr}) =~ s/\Atcp://;
	return "nbd://$address/" . ($volume // $self->{volume});
}

# Host and port of volmgr's NBD service.
sub host_port
{
	my ($self) = @_;
	return $self->{address}{volmgr} =~ /\A(?:tcp:)?(.*):([0-9]+)\z/;
}

sub _alive
{
	my ($self, $name) = @_;
	my $p = $self->{pids}{$name} or return 0;
	return ((pid_start_time($p->{pid}) // '') eq $p->{start}) ? 1 : 0;
}

sub pid
{
	my ($self, $name) = @_;
	return $self->_alive($name) ? $self->{pids}{$name}{pid} : undef;
}

# ---- one daemon -------------------------------------------------------------

sub _argv
{
	my ($self, $name) = @_;
	my @more = @{ $self->{args}{$name} // $self->{args}{ $name =~ s/-[0-9]+\z//r } // [] };
	if ($name eq 'volmgr') {
		my @threads = defined $self->{threads} ? ('--threads', $self->{threads}) : ();
		return (
			program('volmgr'), '--dir', $self->_file('volmgr'), '--secret', $self->secret,
			'--listen', $self->{address}{volmgr} // 'tcp:127.0.0.1:0', '--socket', $self->socket,
			'--http', $self->{address}{http} // 'tcp:127.0.0.1:0', '--www', Weft::build_dir() . '/www/page',
			@threads, @more,
		);
	}
	my $listen = $self->{address}{$name}
	    // ($self->{tcp} ? 'tcp:127.0.0.1:0' : 'shm:' . $self->_file("$name.sock"));
	return (@{ $self->{prefix}{$name} // [] }, program('nbdsrv'), '--store', $self->_file($name), '--secret', $self->secret,
		'--listen', $listen, @more);
}

sub _start_one
{
	my ($self, $name) = @_;
	return if $self->_alive($name);
	my $daemon = daemon_start(
		name => $name, argv => [ $self->_argv($name) ], log => $self->log_file($name),
		detach => $self->{detach}, timeout => 90,
	);
	$self->{pids}{$name} = { pid => $daemon->{pid}, start => pid_start_time($daemon->{pid}) // '' };
	$self->{address}{$name} = $daemon->{listen}[0] if @{ $daemon->{listen} };
	$self->{address}{http} = $daemon->{http} if $name eq 'volmgr';
	$self->_save;
	return;
}

sub _end_one
{
	my ($self, $name, $signal) = @_;
	daemon_stop({ name => $name, pid => $self->{pids}{$name}{pid} }, $signal, 90)
	    if $self->_alive($name);
	delete $self->{pids}{$name};
	$self->_save;
	return;
}

sub _named
{
	my ($self, @names) = @_;
	return $self->names if !@names;
	my %known = map { $_ => 1 } $self->names;
	$known{$_} or die "'$_' is not in this cluster; there are: " . join(' ', $self->names) . "\n"
	    for @names;
	return @names;
}

# start, stop (asks politely and waits) and kill (at once) take names, or mean everything. volmgr is
# started last and stopped first.
sub start
{
	my ($self, @names) = @_;
	$self->_start_one($_) for $self->_named(@names);
	return $self;
}

sub stop
{
	my ($self, @names) = @_;
	$self->_end_one($_, 'TERM') for reverse $self->_named(@names);
	return $self;
}

sub kill
{
	my ($self, @names) = @_;
	$self->_end_one($_, 'KILL') for reverse $self->_named(@names);
	return $self;
}

# ---- the whole --------------------------------------------------------------

sub format_stores
{
	my ($self) = @_;
	run_ok(program('volctl'), 'cluster', 'init', '--secret', $self->secret) if !-e $self->secret;
	$self->format_store($_) for $self->server_names;
	return;
}

# An empty one; what was there is gone.
sub format_store
{
	my ($self, $name) = @_;
	remove_tree($self->_file($name));
	make_path($self->_file($name));
	run_ok(program('nbdsrv'), '--store', $self->_file($name), '--format', '--size',
		$self->{store_size}, '--secret', $self->secret);
	return;
}

sub add_servers
{
	my ($self) = @_;
	$self->add_server($_) for $self->server_names;
	return;
}

sub add_server
{
	my ($self, $name) = @_;
	$self->volctl('server', 'add', $self->{address}{$name}, '--name', $name, '--host',
		$self->{host}{$name} // "host-$name");
	return;
}

sub create_volume
{
	my ($self, $name, %opt) = @_;
	my @unit = defined($opt{unit} // $self->{unit}) ? ('--unit', $opt{unit} // $self->{unit}) : ();
	$self->volctl('volume', 'create', $name, '--size', $opt{size} // $self->{size}, '--ec',
		$opt{ec} // "$self->{k}+$self->{m}", @unit);
	return;
}

sub up
{
	my ($self) = @_;
	$self->format_stores;
	$self->start;
	$self->add_servers;
	$self->create_volume($self->{volume}) if $self->{volume} ne '';
	return $self;
}

# Everything ends and the folder goes away.
sub down
{
	my ($self) = @_;
	$self->kill;
	remove_tree($self->{dir});
	return;
}

# Runs volctl against this cluster: what it printed, or dies with what it complained about.
sub volctl
{
	my ($self, @args) = @_;
	return run_ok(program('volctl'), '--socket', $self->socket, @args);
}

sub volctl_run
{
	my ($self, @args) = @_;
	return run(program('volctl'), '--socket', $self->socket, @args);
}

# GET from the HTTP API on the Unix socket, decoded.
sub get
{
	my ($self, $path) = @_;
	my ($status, $body) = http_local($self->socket, GET => $path);
	$status == 200 or die "GET $path: $status " . json_encode($body) . "\n";
	return $body;
}

# Bytes that the servers say are free, all together.
sub free_bytes
{
	my ($self) = @_;
	my $list = $self->get('/servers');
	$list = $list->{servers} if ref $list eq 'HASH';
	my $free = 0;
	$free += $_->{free} for @$list;
	return $free;
}

# What t/cluster prints and scripts read.
sub describe
{
	my ($self) = @_;
	my $text = '';
	if (defined $self->{address}{volmgr}) {
		(my $http = $self->http) =~ s/\Atcp://;
		$text .= 'uri=' . $self->uri . "\n" . "http=http://$http\n" . 'socket=' . $self->socket . "\n";
	}
	for my $name ($self->names) {
		$text .= "pid $name " . ($self->pid($name) // '-') . "\n";
	}
	return $text;
}

1;
