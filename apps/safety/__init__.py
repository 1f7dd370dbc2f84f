"""What stands between a network and a server here: ASGI middleware, whatever framework is inside.

`guarded` puts all of it around an app: answers only what was meant for this server (`hosts`), with
the key if there is one (`keys`, `login`), and bodies that are not too long (`bodies`); what the
app trips over becomes a sentence (`mistakes`), and every answer tells a browser what the page may
do (`headers`). `OwnScripts` is for a page with scripts in its text.
"""

from apps.safety.guarded import guarded
from apps.safety.scripts import OwnScripts

__all__ = ["OwnScripts", "guarded"]
