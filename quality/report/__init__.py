"""The quality report: one offline HTML file that says what a dataset is, whether it is fit to publish, and what is doubtful.

    scope.py       a release of a dataset, or its pool
    ledger.py      pool and release to arrays, a unit at a time
    tallies.py     counts by verdict: words, reasons, duties, evidence
    histograms.py  counts at edges: what a cut would keep, exactly
    pairs.py       which pairs are shown, and what of them; never one that is on a block list
    images.py      thumbnails, blurred and sharp
    compare.py     against another release: who changed sides, and why
    doubts.py      what a careful reader would ask
    gather.py      all of it as one Report (model.py)
    plots.py       histograms as SVG (matplotlib), coloured by the page's own variables
    render.py      Report to HTML: templates/ by jinja2, palette.css, report.css, report.js, all inlined

The file asks for nothing: no font, no script, no image from anywhere, and a content security policy that lets none in.
The same release gives the same bytes: no clock is read; times come from run.json.
"""
