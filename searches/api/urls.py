from django.urls import path

from accounts.web import path_converters  # noqa: F401  # registers <id:…>
from searches.api.views.images import Images, OneImage
from searches.api.views.quotes import Quotes
from searches.api.views.reconciliations import Reconcile, Reconciliations
from searches.api.views.results import Calls, Results
from searches.api.views.searches import Cancel, OneSearch, RetryFailed, Searches
from searches.api.views.sources import Sources

urlpatterns = [
    path("searches", Searches.as_view()),
    path("searches/quote", Quotes.as_view()),
    path("searches/<id:id>", OneSearch.as_view(), name="search"),
    path("searches/<id:id>/cancel", Cancel.as_view()),
    path("searches/<id:id>/retry", RetryFailed.as_view()),
    path("searches/<id:id>/results", Results.as_view()),
    path("searches/<id:id>/calls", Calls.as_view()),
    path("images", Images.as_view()),
    path("images/<id:id>", OneImage.as_view(), name="image"),
    path("credentials/<id:id>/reconcile", Reconcile.as_view()),
    path("credentials/<id:id>/reconciliations", Reconciliations.as_view()),
    path("sources", Sources.as_view()),
]
