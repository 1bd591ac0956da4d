"""What real programs say on standard error when they fail, with the exit codes that go with it."""

from __future__ import annotations

import subprocess

from known_errors.case import Case

SAID: dict[str, list[tuple[int, str]]] = {
    "configuration": [
        (255, "user@h: Permission denied (publickey,password)."),
        (255, "Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures"),
        (
            255,
            (
                "Unable to negotiate with 10.0.0.1 port 22: no matching host key type found."
                " Their offer: ssh-rsa"
            ),
        ),
        (255, "/home/u/.ssh/config: line 3: Bad configuration option: foo"),
        (5, "@ERROR: auth failed on module m"),
        (5, "@ERROR: Unknown module 'x'"),
        (
            2,
            (
                "protocol version mismatch -- is your shell clean?\n"
                "(see the rsync manpage for an explanation)\n"
                "rsync error: protocol incompatibility (code 2)"
            ),
        ),
        (128, ("remote: Invalid username or password.\nfatal: Authentication failed for 'https://h/r.git/'")),
        (128, "fatal: could not read Username for 'https://h': terminal prompts disabled"),
        (
            1,
            (
                "CONFLICT (content): Merge conflict in a.txt\n"
                "Automatic merge failed; fix conflicts and then commit the result."
            ),
        ),
        (35, "curl: (35) error:0A00010B:SSL routines::wrong version number"),
        (3, "curl: (3) URL using bad/illegal format or missing URL"),
        (1, 'curl: (1) Protocol "httpx" not supported'),
        (
            125,
            (
                "docker: Error response from daemon: driver failed programming external "
                "connectivity on endpoint x: Bind for 0.0.0.0:80 failed: port is already "
                "allocated."
            ),
        ),
        (
            127,
            (
                "docker: Error response from daemon: OCI runtime create failed: runc create "
                'failed: unable to start container process: exec: "foo": executable file not'
                " found in $PATH: unknown."
            ),
        ),
        (
            125,
            (
                "docker: Error response from daemon: pull access denied for x, repository "
                "does not exist or may require 'docker login'."
            ),
        ),
        (1, 'Get "https://h/v2/": http: server gave HTTP response to HTTPS client'),
        (
            125,
            (
                'docker: Error response from daemon: Conflict. The container name "/x" is '
                'already in use by container "1".'
            ),
        ),
        (1, ('Error from server (Forbidden): pods is forbidden: User "x" cannot list resource "pods"')),
        (1, 'Error from server (NotFound): pods "x" not found'),
        (3, 'psql:f.sql:1: ERROR:  relation "x" does not exist'),
        (1, "pg_dump: error: aborting because of server version mismatch"),
        (2, 'psql: error: FATAL:  password authentication failed for user "x"'),
        (1, "ERROR 1045 (28000): Access denied for user 'x'@'h' (using password: YES)"),
        (
            254,
            (
                "An error occurred (NoSuchBucket) when calling the ListObjectsV2 operation: "
                "The specified bucket does not exist"
            ),
        ),
        (
            254,
            (
                "An error occurred (InvalidClientTokenId) when calling the GetCallerIdentity"
                " operation: The security token included in the request is invalid."
            ),
        ),
        (253, ('Unable to locate credentials. You can configure credentials by running "aws configure".')),
        (253, ('You must specify a region. You can also configure your region by running "aws configure".')),
        (1, ('Unable to run job: job rejected: the requested parallel environment "x" does not exist.')),
        (1, "sbatch: error: Memory specification can not be satisfied"),
        (1, "java.lang.NoClassDefFoundError: com/x/Y"),
        (1, "Traceback (most recent call last):\nModuleNotFoundError: No module named 'x'"),
        (100, "E: Unable to locate package foo"),
        (1, "nc: Address already in use"),
        (1, "bash: ./a: cannot execute binary file: Exec format error"),
        (32, "mount: /mnt: unknown filesystem type 'zfs'."),
        (2, "bash: -c: line 1: unexpected EOF while looking for matching `\"'"),
        (2, "curl: option --connect-timeout: requires parameter"),
        (1, "Error: statement_timeout must be an integer"),
        (1, "config: connect_timeout = 5 is out of range"),
        (1, "usage: eio [-h] FILE"),
        (1, "ValueError: eperm is not a valid choice"),
        (1, "error: the object is not subscriptable"),
        (1, "the certificate file cert.pem was not found"),
        (1, "error: unknown host class 'x'"),
        (1, "No such host group: web"),
        (1, "AssertionError: expected 503, got 200"),
        (1, "cannot connect slot 'clicked' of type QPushButton"),
        (1, "tests: 3 failed, 1 error (see report)"),
        (1, "fatal: couldn't find remote ref refs/heads/x"),
        (
            1,
            (
                "An error occurred (NoSuchKey) when calling the GetObject operation: The "
                "specified key does not exist."
            ),
        ),
        (1, "SyntaxError: unexpected EOF while parsing"),
        (1, "parser error: unexpected EOF in string literal"),
        (
            128,
            ("git@github.com: Permission denied (publickey).\nfatal: Could not read from remote repository."),
        ),
    ],
    "data-integrity": [
        (
            128,
            (
                "error: object file .git/objects/0a/bc is empty\n"
                "fatal: loose object 0abc (stored in .git/objects/0a/bc) is corrupt"
            ),
        ),
        (128, "error: packfile .git/objects/pack/pack-1.pack does not match index"),
        (3, "psql:f.sql:1: ERROR:  invalid page in block 3 of relation base/1/2"),
        (2, "tar: Unexpected EOF in archive\ntar: Error is not recoverable: exiting now"),
        (1, "gzip: stdin: not in gzip format"),
        (1, "gzip: a.gz: unexpected end of file"),
        (1, "gzip: a.gz: invalid compressed data--crc error"),
        (
            9,
            (
                "  End-of-central-directory signature not found.  Either this file is not\n"
                "  a zipfile, or it constitutes one disk of a multi-part archive."
            ),
        ),
        (2, "bzip2: Data integrity error when decompressing."),
        (1, "xz: a.xz: Compressed data is corrupt"),
        (1, "a.zst : Decoding error (36) : Restored data doesn't match checksum"),
        (1, "sha256sum: WARNING: 1 computed checksum did NOT match"),
        (1, "a.mp4: Invalid data found when processing input"),
        (1, "[mov,mp4] moov atom not found"),
        (2, "jq: parse error: Invalid numeric literal at line 1, column 5"),
        (1, "npm error code EINTEGRITY\nnpm error sha512-x integrity checksum failed"),
        (100, "E: Failed to fetch http://mirror.test/x  Hash Sum mismatch"),
        (1, "ls: cannot access '/mnt/a': Structure needs cleaning"),
        (1, "cat: a: Bad message"),
        (1, "ERROR: checksum mismatch for a.tar.gz: expected 1 got 2"),
        (1, "zlib.error: Error -3 while decompressing data: incorrect header check"),
        (1, "error: corrupt loose object '0abc'"),
    ],
    "permanent": [
        (
            23,
            (
                'rsync: [receiver] mkstemp "/x/.a" failed: Permission denied (13)\n'
                "rsync error: some files/attrs were not transferred (see previous errors) "
                "(code 23)"
            ),
        ),
        (128, "remote: Repository not found.\nfatal: repository 'https://h/r.git/' not found"),
        (128, "fatal: not a git repository (or any of the parent directories): .git"),
        (128, "fatal: detected dubious ownership in repository at '/r'"),
        (47, "curl: (47) Maximum (50) redirects followed"),
        (8, "2026-01-01 00:00:00 ERROR 404: Not Found."),
        (3, 'psql:f.sql:1: ERROR:  syntax error at or near "selct"'),
        (254, ("An error occurred (AccessDenied) when calling the ListObjectsV2 operation: Access Denied")),
        (1, "TERM_FORCE_OWNER: job killed by owner without time for cleanup."),
        (1, "dd: error reading '/dev/sdb': Remote I/O error"),
        (32, "mount.nfs: access denied by server while mounting h:/x"),
        (254, "An error occurred (404) when calling the HeadObject operation: Not Found"),
    ],
    "recoverable": [
        (
            1,
            (
                " ! [rejected]        main -> main (fetch first)\n"
                "error: failed to push some refs to 'https://h/r.git'"
            ),
        ),
        (3, "psql:f.sql:1: ERROR:  cannot execute INSERT in a read-only transaction"),
        (
            254,
            (
                "An error occurred (ExpiredToken) when calling the ListObjectsV2 operation: "
                "The provided token has expired."
            ),
        ),
        (255, "Error when retrieving token from sso: Token has expired and refresh failed"),
        (1, "ls: cannot access '/afs/x': Key has expired"),
        (1, "mv: cannot move 'a' to 'b': Invalid cross-device link"),
    ],
    "resource": [
        (
            11,
            (
                'rsync: [receiver] write failed on "/x/a": No space left on device (28)\n'
                "rsync error: error in file IO (code 11)"
            ),
        ),
        (
            1,
            (
                'Error from server (Forbidden): pods "x" is forbidden: exceeded quota: '
                "compute, requested: cpu=2, used: cpu=4, limited: cpu=4"
            ),
        ),
        (1, "0/3 nodes are available: 3 Insufficient memory."),
        (
            1,
            (
                "ERROR: (gcloud.compute.instances.create) Could not fetch resource:\n"
                " - Quota 'CPUS' exceeded.  Limit: 8.0 in region europe-west1."
            ),
        ),
        (1, "slurmstepd: error: Job 7 exceeded memory limit (5000 > 4096), being killed"),
        (1, "qsub: would exceed queue generic's per-user limit"),
        (140, "TERM_CPULIMIT: job killed after reaching LSF CPU usage limit."),
        (1, "TERM_THREADLIMIT: job killed after reaching LSF thread limit."),
        (1, "User <x>: Pending job threshold reached. Retrying in 60 seconds..."),
        (
            1,
            (
                "RuntimeError: DataLoader worker (pid 7) is killed by signal: Bus error. It "
                "is possible that dataloader's workers are out of shared memory."
            ),
        ),
        (1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"),
        (1, "npm error code ENOSPC\nnpm error syscall write"),
        (1, "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory"),
        (1, "Error: EMFILE: too many open files, open 'a'"),
        (1, "cp: error writing 'a': File too large"),
        (1, "nc: connect to h port 80 (tcp) failed: Cannot assign requested address"),
        (1, "ping: sendmsg: No buffer space available"),
        (1, ("An error occurred (InsufficientInstanceCapacity) when calling the RunInstances operation")),
        (1, "dockerd: failed to register layer: write /usr/lib/x: no space left on device"),
        (1, "nvidia: cudaErrorMemoryAllocation: out of memory"),
        (1, ("bash: fork: retry: Resource temporarily unavailable\nbash: fork: Cannot allocate memory")),
        (1, "OSError: [Errno 24] Too many open files: 'a'"),
    ],
    "security": [
        (255, "Host key verification failed."),
        (
            255,
            (
                "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n"
                "Host key for h has changed and you have requested strict checking."
            ),
        ),
        (
            128,
            (
                "fatal: unable to access 'https://h/r.git/': SSL certificate problem: unable"
                " to get local issuer certificate"
            ),
        ),
        (
            60,
            (
                "curl: (60) SSL certificate problem: self-signed certificate\n"
                "More details here: https://curl.se/docs/sslcerts.html"
            ),
        ),
        (60, ("curl: (60) SSL: no alternative certificate subject name matches target host name 'h'")),
        (5, "ERROR: The certificate of 'h' is not trusted."),
        (1, 'Get "https://h/v2/": x509: certificate signed by unknown authority'),
        (
            1,
            (
                'Get "https://h/v2/": tls: failed to verify certificate: x509: certificate '
                "has expired or is not yet valid"
            ),
        ),
        (
            1,
            (
                "javax.net.ssl.SSLHandshakeException: PKIX path building failed: unable to "
                "find valid certification path to requested target"
            ),
        ),
        (
            1,
            (
                "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate "
                "verify failed: self-signed certificate (_ssl.c:1006)"
            ),
        ),
        (1, 'gpg: BAD signature from "x"'),
    ],
    "transient": [
        (255, "ssh: connect to host h port 22: Connection refused"),
        (255, "ssh: connect to host h port 22: Connection timed out"),
        (255, "ssh: connect to host h port 22: No route to host"),
        (255, "ssh: Could not resolve hostname h: Name or service not known"),
        (255, "ssh: Could not resolve hostname h: Temporary failure in name resolution"),
        (255, "kex_exchange_identification: Connection closed by remote host"),
        (255, "kex_exchange_identification: read: Connection reset by peer"),
        (255, "client_loop: send disconnect: Broken pipe"),
        (255, "Timeout, server h not responding."),
        (
            30,
            (
                "[sender] io timeout after 30 seconds -- exiting\n"
                "rsync error: timeout in data send/receive (code 30) at io.c(197) "
                "[sender=3.2.7]"
            ),
        ),
        (
            35,
            (
                "rsync error: timeout waiting for daemon connection (code 35) at "
                "socket.c(278) [Receiver=3.2.7]"
            ),
        ),
        (10, ("rsync: [sender] write error: Broken pipe (32)\nrsync error: error in socket IO (code 10)")),
        (
            24,
            (
                'file has vanished: "/a/b"\n'
                "rsync warning: some files vanished before they could be transferred (code "
                "24) at main.c(1338) [sender=3.2.7]"
            ),
        ),
        (5, "@ERROR: max connections (4) reached -- try again later"),
        (
            12,
            (
                "rsync: connection unexpectedly closed (0 bytes received so far) [Receiver]\n"
                "rsync error: error in rsync protocol data stream (code 12)"
            ),
        ),
        (
            128,
            (
                "fatal: unable to access 'https://h/r.git/': Failed to connect to h port 443"
                " after 130 ms: Couldn't connect to server"
            ),
        ),
        (128, "fatal: unable to access 'https://h/r.git/': Could not resolve host: h"),
        (128, "fatal: early EOF\nfatal: fetch-pack: invalid index-pack output"),
        (128, "fatal: unable to access 'https://h/r.git/': Empty reply from server"),
        (
            128,
            (
                "error: cannot lock ref 'refs/heads/x': Unable to create "
                "'/r/.git/refs/heads/x.lock': File exists."
            ),
        ),
        (
            128,
            (
                "fatal: Unable to create '/r/.git/shallow.lock': File exists.\n"
                "\n"
                "Another git process seems to be running in this repository"
            ),
        ),
        (7, "curl: (7) Failed to connect to h port 80 after 0 ms: Couldn't connect to server"),
        (52, "curl: (52) Empty reply from server"),
        (18, "curl: (18) transfer closed with 100 bytes remaining to read"),
        (35, "curl: (35) OpenSSL SSL_connect: SSL_ERROR_SYSCALL in connection to h:443"),
        (5, "curl: (5) Could not resolve proxy: p"),
        (28, "curl: (28) Failed to connect to h port 80: Timeout was reached"),
        (28, "curl: (28) Resolving timed out after 5000 milliseconds"),
        (92, "curl: (92) HTTP/2 stream 0 was not closed cleanly: INTERNAL_ERROR (err 2)"),
        (56, "curl: (56) Recv failure: Connection reset by peer"),
        (22, "curl: (22) The requested URL returned error: 429"),
        (4, "wget: unable to resolve host address 'h'"),
        (8, "2026-01-01 00:00:00 ERROR 503: Service Unavailable."),
        (4, "Read error at byte 100/200 (Connection reset by peer). Giving up."),
        (
            1,
            (
                "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the "
                "docker daemon running?"
            ),
        ),
        (
            1,
            (
                'Error response from daemon: Get "https://registry-1.docker.io/v2/": '
                "net/http: request canceled while waiting for connection (Client.Timeout "
                "exceeded while awaiting headers)"
            ),
        ),
        (
            1,
            (
                'Error response from daemon: Get "https://registry-1.docker.io/v2/": dial '
                "tcp: lookup registry-1.docker.io on 127.0.0.53:53: no such host"
            ),
        ),
        (1, "dial tcp 10.0.0.1:443: i/o timeout"),
        (1, ("error pulling image configuration: download failed after attempts=6: unexpected EOF")),
        (1, ('Post "https://h": read tcp 10.0.0.2:3->10.0.0.1:443: read: connection reset by peer')),
        (1, 'Get "https://h": EOF'),
        (
            1,
            (
                "The connection to the server localhost:8080 was refused - did you specify "
                "the right host or port?"
            ),
        ),
        (
            1,
            (
                "Error from server (ServiceUnavailable): the server is currently unable to "
                "handle the request (get pods)"
            ),
        ),
        (
            1,
            (
                "Error from server (Conflict): Operation cannot be fulfilled on "
                'deployments.apps "x": the object has been modified; please apply your '
                "changes to the latest version and try again"
            ),
        ),
        (1, "etcdserver: leader changed"),
        (1, "error: timed out waiting for the condition on pods/x"),
        (
            2,
            (
                'psql: error: connection to server at "h" (10.0.0.1), port 5432 failed: serv'
                "er closed the connection unexpectedly\n\tThis probably means the server termi"
                "nated abnormally\n\tbefore or while processing the request."
            ),
        ),
        (2, "SSL connection has been closed unexpectedly\nconnection to server was lost"),
        (2, ('psql: error: could not translate host name "h" to address: Name or service not known')),
        (3, "psql:f.sql:1: ERROR:  canceling statement due to statement timeout"),
        (2, "psql:f.sql:1: FATAL:  terminating connection due to administrator command"),
        (2, "psql: error: FATAL:  the database system is not yet accepting connections"),
        (
            1,
            (
                "ERROR 2002 (HY000): Can't connect to local MySQL server through socket "
                "'/run/mysqld/mysqld.sock' (2)"
            ),
        ),
        (1, "ERROR 2003 (HY000): Can't connect to MySQL server on 'h:3306' (111)"),
        (1, "ERROR 2013 (HY000) at line 1: Lost connection to MySQL server during query"),
        (1, "ERROR 2006 (HY000) at line 1: MySQL server has gone away"),
        (1, ("ERROR 1205 (HY000) at line 1: Lock wait timeout exceeded; try restarting transaction")),
        (
            1,
            (
                "ERROR 1213 (40001) at line 1: Deadlock found when trying to get lock; try "
                "restarting transaction"
            ),
        ),
        (1, "Could not connect to Redis at 127.0.0.1:6379: Connection refused"),
        (1, "MongoNetworkError: connect ECONNREFUSED 127.0.0.1:27017"),
        (
            254,
            (
                "An error occurred (ThrottlingException) when calling the DescribeInstances "
                "operation (reached max retries: 4): Rate exceeded"
            ),
        ),
        (
            1,
            (
                "upload failed: ./a to s3://b/a An error occurred (SlowDown) when calling "
                "the PutObject operation (reached max retries: 4): Please reduce your "
                "request rate."
            ),
        ),
        (
            254,
            (
                "An error occurred (InternalError) when calling the PutObject operation "
                "(reached max retries: 4): We encountered an internal error. Please try "
                "again."
            ),
        ),
        (255, 'Could not connect to the endpoint URL: "https://s3.eu-west-9.amazonaws.com/"'),
        (255, 'Connect timeout on endpoint URL: "https://s3.amazonaws.com/"'),
        (255, 'Read timeout on endpoint URL: "https://s3.amazonaws.com/"'),
        (1, ("sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received")),
        (1, ("srun: error: Task launch for StepId=7.0 failed on node n1: Communication connection failure")),
        (
            1,
            (
                "=>> PBS: job killed: node 3 (n3) requested job terminate, 'EOF' (code 1099)"
                " - received SISTER_EOF attempting to communicate with sister MOM's"
            ),
        ),
        (1, "error: commlib error: got select error (Connection refused)"),
        (
            1,
            (
                "ERROR: Failed to connect to local queue manager\n"
                "CEDAR:6001:Failed to connect to <10.0.0.1:9618>"
            ),
        ),
        (1, "java.net.UnknownHostException: h"),
        (
            1,
            (
                "requests.exceptions.ConnectionError: ('Connection aborted.', "
                "RemoteDisconnected('Remote end closed connection without response'))"
            ),
        ),
        (1, "sqlite3.OperationalError: database is locked"),
        (1, "npm error code ECONNRESET\nnpm error network aborted"),
        (
            1,
            (
                "npm error code EAI_AGAIN\n"
                "npm error request to https://registry.test/x failed, reason: "
                "getaddrinfo EAI_AGAIN registry.test"
            ),
        ),
        (1, "Error: getaddrinfo ENOTFOUND h"),
        (1, "Error: connect ETIMEDOUT 10.0.0.1:443"),
        (100, ("E: Failed to fetch http://mirror.test/x.deb  503  Service Unavailable [IP: 10.0.0.1 80]")),
        (100, ("W: Failed to fetch http://mirror.test/x  Temporary failure resolving 'mirror.test'")),
        (1, "ls: cannot open directory '/mnt': Transport endpoint is not connected"),
        (1, "mount.nfs: Host is down"),
        (1, "flock: 9: No locks available"),
        (1, "cat: a: Interrupted system call"),
        (1, "connect: Network is down"),
        (254, ("An error occurred (Throttling.User) when calling the DescribeX operation: Rate exceeded")),
        (255, "ssh_exchange_identification: Connection closed by remote host"),
        (255, "ssh: connect to host h port 22: Network is unreachable"),
        (255, "packet_write_wait: Connection to 10.0.0.1 port 22: Broken pipe"),
        (1, "scp: Connection closed"),
        (128, ("fatal: unable to access 'https://h/': OpenSSL SSL_read: Connection was reset, errno 10054")),
        (
            128,
            (
                "ssh: connect to host github.com port 22: Connection timed out\n"
                "fatal: Could not read from remote repository."
            ),
        ),
        (
            1,
            (
                "helm: Error: INSTALLATION FAILED: Kubernetes cluster unreachable: Get "
                '"https://h:6443/version": dial tcp 10.0.0.1:6443: connect: connection '
                "refused"
            ),
        ),
        (1, "Error: Error acquiring the state lock: ConditionalCheckFailedException"),
        (1, "pip: ERROR: HTTP error 502 while getting https://index.test/simple/x"),
        (1, "Retrying in 5 seconds\nERROR: Service Unavailable (503)"),
        (
            1,
            (
                "podman: Error: initializing source docker://x: pinging container registry "
                'h: Get "https://h/v2/": dial tcp: lookup h: Temporary failure in name '
                "resolution"
            ),
        ),
        (1, "mongod: MongoServerSelectionError: connect ECONNREFUSED 127.0.0.1:27017"),
        (
            2,
            (
                "pg_restore: error: could not connect to database: connection to server at "
                '"h", port 5432 failed: timeout expired'
            ),
        ),
        (1, "rclone: Failed to copy: googleapi: Error 503: Service Unavailable, backendError"),
        (1, "azcopy: RESPONSE 503 Server Busy"),
        (1, "gsutil: ServiceException: 503 Backend Error"),
        (1, "redis-cli: LOADING Redis is loading the dataset in memory"),
        (1, "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)"),
        (1, "fuser: database table is locked"),
    ],
    "validation": [
        (3, 'psql:f.sql:1: ERROR:  duplicate key value violates unique constraint "t_pkey"'),
        (1, "ERROR 1062 (23000) at line 1: Duplicate entry '1' for key 't.PRIMARY'"),
        (
            254,
            (
                "An error occurred (ValidationException) when calling the PutItem operation:"
                " One or more parameter values were invalid"
            ),
        ),
        (1, "touch: cannot touch 'aaa': File name too long"),
    ],
}


def _ended(code: int, text: str) -> subprocess.CalledProcessError:
    return subprocess.CalledProcessError(code, "tool", stderr=text)


CASES: list[Case] = [
    Case(f"{code} {text[:60]}", lambda code=code, text=text: _ended(code, text), category, "its own words")  # type: ignore[misc]
    for category, texts in SAID.items()
    for code, text in texts
]
