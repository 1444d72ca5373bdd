"""Show the library's own code in a chapter, so that what is taught is what runs."""

import inspect
import textwrap

from IPython.display import Code, display


def show_source(*objects) -> None:
    """Display the source code of functions or classes of the library, highlighted."""
    for thing in objects:
        display(Code(textwrap.dedent(inspect.getsource(thing)).rstrip(), language="python"))
