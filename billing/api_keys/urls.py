from django.urls import path

from accounts.web import path_converters  # noqa: F401  # registers <id:…>
from billing.api_keys import views

urlpatterns = [
    path("api-keys", views.ApiKeys.as_view()),
    path("api-keys/<id:id>", views.OneApiKey.as_view(), name="api-key"),
    path("api-keys/<id:id>/rotate", views.Rotate.as_view()),
]
