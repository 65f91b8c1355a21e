# Several hosts on one machine: network namespaces, each joined by a veth pair to a bridge in the namespace
# that the program itself is in, which is its own as well. A link is cut by taking down its end at the
# bridge: nobody is told, connections stay half open. All of it is without names, so it is gone with the
# last process in it, however that one ends.
package Weft::Hosts;

use strict;
use warnings;

use Weft;

use constant NETWORK => '10.77.0'; # seen by nobody else

# What is missing on this machine, or undef.
sub missing
{
	return 'only root can make network namespaces' if $> != 0;
	for my $name (qw(unshare nsenter ip)) {
		return "$name is not there" if !tool($name);
	}
	my $got = run(tool('unshare'), '--net', 'sh', '-ec',
		'ip link add name bridge type bridge; ip link add name host1 type veth peer name to1'
		. '; ip link set dev host1 master bridge');
	return $got->{status} ? "this kernel gives no bridge and veth pairs: $got->{err}" : undef;
}

# Begins the program anew, in a network namespace of its own; returns when it is there.
sub enter
{
	my (@args) = @_;
	return if ($ENV{WEFT_HOSTS_INSIDE} // '') eq $$;
	$ENV{WEFT_HOSTS_INSIDE} = $$; # exec keeps the number
	exec(tool('unshare'), '--net', '--', $^X, $0, @args) or die "unshare: $!\n";
}

sub ip { return run_ok(tool('ip'), @_) }

# n hosts, from 1 on.
sub new
{
	my ($class, $n) = @_;
	die "not in a network namespace of our own\n" if ($ENV{WEFT_HOSTS_INSIDE} // '') ne $$;
	my $self = bless { n => $n, pid => {} }, $class;
	at_end(sub { kill('KILL', values %{ $self->{pid} }) });
	ip(qw(link set dev lo up));
	ip(qw(link add name bridge type bridge));
	ip('addr', 'add', NETWORK . '.254/24', 'dev', 'bridge');
	ip(qw(link set dev bridge up));
	$self->_add($_) for 1 .. $n;
	return $self;
}

sub _add
{
	my ($self, $i) = @_;
	pipe(my $r, my $w) or die "pipe: $!\n";
	my $pid = fork() // die "fork: $!\n";
	if (!$pid) {
		Weft::die_with_parent();
		open(STDOUT, '>&', $w) or POSIX::_exit(126);
		{ no warnings 'exec'; exec(tool('unshare'), '--net', 'sh', '-c', 'echo there; exec sleep 1000000'); }
		POSIX::_exit(127);
	}
	close($w);
	$self->{pid}{$i} = $pid;
	(line_read($r, 30) // '') eq 'there' or die "host $i has no network namespace\n";
	ip('link', 'add', 'name', "host$i", 'type', 'veth', 'peer', 'name', "to$i");
	ip('link', 'set', 'dev', "to$i", 'netns', $pid);
	ip('link', 'set', 'dev', "host$i", 'master', 'bridge', 'up');
	my @there = $self->prefix($i);
	run_ok(@there, tool('ip'), qw(link set dev lo up));
	run_ok(@there, tool('ip'), 'addr', 'add', $self->address($i) . '/24', 'dev', "to$i");
	run_ok(@there, tool('ip'), 'link', 'set', 'dev', "to$i", 'up');
	return;
}

sub address { return NETWORK . ".$_[1]" }

# What goes before a command that runs there.
sub prefix
{
	my ($self, $i) = @_;
	return (tool('nsenter'), "--net=/proc/$self->{pid}{$i}/ns/net", '--');
}

sub cut  { return ip('link', 'set', 'dev', "host$_[1]", 'down') }
sub mend { return ip('link', 'set', 'dev', "host$_[1]", 'up') }

1;
