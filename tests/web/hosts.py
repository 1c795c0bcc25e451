"""The hosts of the small web that stand for something. Names are fixed; ports are in the host map."""

CDN = "cdn.pigment.test"
LIMITED = "limits.pigment.test"  # answers 429 for ever; a host of its own, since a polite client slows down for the whole host
REFUSING = tuple(f"dead-{number}.pigment.test" for number in (1, 2, 3))  # nothing listens there
SILENT = tuple(f"silent-{number}.pigment.test" for number in (1, 2, 3, 4))  # accepts the connection and never answers
UNKNOWN = "nowhere.pigment.test"  # in no host map: does not resolve
MIRROR = "mirror.pigment.test"
UNICODE = "그림.pigment.test"
