"""SASL DIGEST-MD5 (RFC 2831) as ZooKeeper's client protocol carries it.

The tokens travel in requests of type 102, with ordinary xids, once the session is there:

    client                       server
    ""                       ->
                             <-  realm, nonce, what it can do
    proof of the password    ->
                             <-  rspauth: the server's proof that it knows the password, too

Rules:
- a machine is for one connection; the next connection begins with another `Sasl`;
- nothing else is sent until it is `done`, not even a ping or a setWatches: a server that demands
  authentication refuses them and closes, and Apache's own client holds them back;
- a refused password is no token but an error in the reply's header (-115, or -124 where the server
  demands authentication), after which the server closes. Without an error a null token is as much
  a refusal: Apache's server sends it when it has no users (no JAAS section), and when it is to
  keep clients that it could not authenticate (`zookeeper.allowSaslFailedClients`);
- every server is called zookeeper/zk-sasl-md5, whatever its host is: Apache's has that built in;
- whoever looks on can try passwords against what they saw, for MD5 is fast: use TLS around it.
"""

from coterie.wire.digest_client import Sasl

__all__ = ["Sasl"]
