"""Tests on other kernels: a pytest plugin that runs tests marked ``lab`` inside guests, one boot for each kernel.

``plugin``   what pytest loads: the options, the marker, and a test for each kernel that ``--on`` names
``guests``   in pytest's own process: hands out the reports that come from the guests
``keeper``   a process beside pytest that owns the guests, several at a time
``worker``   in a guest: runs the tests it is told, once, and sends their reports
``results``  the file of ``--lab-report``
"""
